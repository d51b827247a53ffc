//! Taking a shard over, and the homes of scopes.

use paramedic_model::{Lane, own_shard};

use super::tables::Tables;
use crate::rules::check_alone;
use crate::{Claim, Position, Result, ShardImage};

impl Tables {
    /// Raises the shard's epoch, brings the claimed sources to it, and gives its working state.
    pub(super) fn load(&mut self, number: u32, claim: &Claim) -> Result<ShardImage> {
        match claim {
            Claim::Alone => {
                self.check_alone(number)?;
                self.take_positions(number, |_| true);
            }
            Claim::Positions(names) => self.take_positions(number, |name| names.iter().any(|n| n == name)),
        }
        let shard = self.shards.entry(number).or_default();
        shard.epoch += 1;
        let scopes = self.scopes.iter().filter(|(_, s)| s.shard == number);
        Ok(ShardImage {
            epoch: shard.epoch,
            batch: shard.batch(),
            last: shard.journal.values().next_back().cloned(),
            positions: shard.positions.clone(),
            scopes: scopes.map(|(name, scope)| self.image(name, scope)).collect(),
            active: self.active,
            ends_lost: 0,
        })
    }

    fn check_alone(&self, number: u32) -> Result<()> {
        let homes = self.homes.iter().map(|(name, home)| (name.as_str(), *home));
        let scopes = self.scopes.iter().map(|(name, scope)| (name.as_str(), scope.shard));
        check_alone(number, homes.chain(scopes))
    }

    /// A shard's lanes stay where they are.
    fn take_positions(&mut self, number: u32, claimed: impl Fn(&str) -> bool) {
        let mut taken: Vec<(String, Position)> = Vec::new();
        for (_, shard) in self.shards.iter_mut().filter(|(other, _)| **other != number) {
            let moves = |name: &String| Lane::from_name(name).is_none() && claimed(name);
            taken.extend(shard.positions.extract_if(.., |name, _| moves(name)));
        }
        self.shards.entry(number).or_default().positions.extend(taken);
    }

    /// Every position, by shard and name.
    pub(super) fn positions(&self) -> Vec<(u32, String, Position)> {
        let of = |(number, shard): (&u32, &super::tables::Shard)| {
            let number = *number;
            shard.positions.clone().into_iter().map(move |(name, position)| (number, name, position))
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// Where a name is at home.
    pub(super) fn home(&self, name: &str) -> Option<u32> {
        own_shard(name).or_else(|| self.homes.get(name).copied())
    }

    /// Where it is at home: in `shard` from here on, if it had no home.
    pub(super) fn claim_home(&mut self, name: &str, shard: u32) -> u32 {
        match self.home(name) {
            Some(home) => home,
            None => *self.homes.entry(name.to_owned()).or_insert(shard),
        }
    }
}
