//! What a person does with a running engine.

use anyhow::{Context as _, bail};
use paramedic_model::{Halt, HaltScope};
use paramedic_store::HaltFile;
use serde_json::{Value, json};

use crate::args::{
    ApiArgs, ApproveArgs, CiArgs, CiCommand, HaltArgs, IncidentArgs, IncidentCommand, RejectArgs, RunCommand, Settled,
    StatusArgs,
};
use crate::client::{ApiError, Client};
use crate::show::{incident as show_incident, printable, run_table, short_time, table, text};
use crate::{Done, Outcome};

/// How long an act is waited for, in seconds.
const WAIT: &str = "wait=5";

/// CIs or relations of one request of an import.
const IMPORT_AT_ONCE: usize = 500;

/// The member of a list answer, whatever it is called.
pub(crate) fn items(answer: &Value, name: &str) -> Vec<Value> {
    answer.get(name).and_then(Value::as_array).or_else(|| answer.as_array()).cloned().unwrap_or_default()
}

pub(crate) fn print(api: &ApiArgs, value: &Value, human: impl FnOnce(&Value) -> String) {
    if api.json {
        println!("{value}");
    } else {
        println!("{}", human(value).trim_end());
    }
}

pub(crate) fn incident(args: IncidentArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    let by = &args.api.by;
    match args.command {
        IncidentCommand::List { state, priority, about, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            let shown = state.clone();
            if state != "all" {
                query.push(("state", state));
            }
            query.extend(priority.map(|p| ("priority", p.to_string())));
            query.extend(about.map(|a| ("about", a)));
            let answer = client.get("/api/v1/incidents", &query)?;
            print(&args.api, &answer, |a| incident_table(&items(a, "incidents"), &shown));
        }
        IncidentCommand::Show { incident } => {
            let answer = client.get(&format!("/api/v1/incidents/{incident}"), &[])?;
            print(&args.api, &answer, show_incident);
        }
        IncidentCommand::Ack { incident } => {
            let answer = client.post(&format!("/api/v1/incidents/{incident}/ack?{WAIT}"), &json!({"by": by}))?;
            print(&args.api, &answer, |_| format!("{incident} is acknowledged by {by}"));
        }
        IncidentCommand::Resolve { incident, code, notes } => {
            let body = json!({"by": by, "code": code, "notes": notes});
            let answer = client.post(&format!("/api/v1/incidents/{incident}/resolve?{WAIT}"), &body)?;
            print(&args.api, &answer, |_| format!("{incident} is resolved: {code}"));
        }
    }
    Ok(Done::Well)
}

fn incident_table(incidents: &[Value], state: &str) -> String {
    if incidents.is_empty() {
        return match state {
            "all" => "no incidents".to_owned(),
            state => format!("no incidents that are {state}; --state all shows every one"),
        };
    }
    table(
        &["NUMBER", "P", "STATE", "ABOUT", "OPENED", "SUMMARY"],
        incidents.iter().map(|i| {
            vec![
                text(i, "number").to_owned(),
                i["priority"].to_string(),
                text(i, "state").to_owned(),
                text(i, "about").to_owned(),
                short_time(&i["opened_at"]),
                text(i, "summary").to_owned(),
            ]
        }),
    )
}

pub(crate) fn runs(command: RunCommand) -> Outcome {
    match command {
        RunCommand::List { api, state, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(state.map(|s| ("state", s)));
            let answer = Client::new(&api)?.get("/api/v1/runs", &query)?;
            print(&api, &answer, |a| {
                let runs = items(a, "runs");
                if runs.is_empty() { "no runs".to_owned() } else { run_table(&runs) }
            });
        }
        RunCommand::Show { api, run } => {
            let client = Client::new(&api)?;
            let id = whole_id(&client, &run)?;
            let answer = client.get(&format!("/api/v1/runs/{id}"), &[])?;
            print(&api, &answer, show_run);
        }
        RunCommand::Settle { api, run, outcome, notes } => {
            let client = Client::new(&api)?;
            let id = whole_id(&client, &run)?;
            let succeeded = outcome == Settled::Succeeded;
            let body = json!({"by": api.by, "succeeded": succeeded, "notes": notes});
            let answer = client.post(&format!("/api/v1/runs/{id}/settle?{WAIT}"), &body)?;
            let word = if succeeded { "succeeded" } else { "failed" };
            print(&api, &answer, |_| format!("run {id} is settled as {word} by {}", api.by));
        }
    }
    Ok(Done::Well)
}

fn show_run(answer: &Value) -> String {
    let (run, outbox) = (&answer["run"], &answer["outbox"]);
    let mut out = run_table(std::slice::from_ref(run));
    out.push_str(&format!(
        "\n\nincident {}   step {}   round {}   effect {}\nparameters {}\n",
        text(run, "incident"),
        text(run, "step"),
        run["round"],
        text(run, "effect"),
        run["parameters"]
    ));
    if outbox.is_object() {
        out.push_str(&format!("key {}   requests sent {}\n", text(outbox, "key"), outbox["attempts"]));
        if let Some(message) = outbox["message"].as_str() {
            out.push_str(&format!("last heard: {}\n", printable(message)));
        }
        out.push_str("guards\n");
        for verdict in items(outbox, "verdicts") {
            let says = verdict["says"].as_str().map_or_else(|| "defer".to_owned(), str::to_owned);
            out.push_str(&format!("  {:<12} {says:<6} {}\n", text(&verdict, "guard"), text(&verdict, "reason")));
        }
    }
    out
}

/// A run's whole id from its first digits, where they fit one of the newest runs only.
pub(crate) fn whole_id(client: &Client, run: &str) -> anyhow::Result<String> {
    if run.len() == 32 {
        return Ok(run.to_owned());
    }
    let runs = items(&client.get("/api/v1/runs", &[("limit", "1000".to_owned())])?, "runs");
    let fitting: Vec<&str> = runs.iter().map(|r| text(r, "id")).filter(|id| id.starts_with(run)).collect();
    match fitting.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => bail!("no run's id begins with {run}; `paramedic run list` shows them"),
        several => bail!("{} runs' ids begin with {run}; give more digits", several.len()),
    }
}

pub(crate) fn approve(args: &ApproveArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    let id = whole_id(&client, &args.run)?;
    let answer = client.post(&format!("/api/v1/runs/{id}/approve?{WAIT}"), &json!({"by": args.api.by}))?;
    print(&args.api, &answer, |_| format!("run {id} is approved by {}; the guards look at it now", args.api.by));
    Ok(Done::Well)
}

pub(crate) fn reject(args: &RejectArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    let id = whole_id(&client, &args.run)?;
    let body = json!({"by": args.api.by, "reason": args.reason});
    let answer = client.post(&format!("/api/v1/runs/{id}/reject?{WAIT}"), &body)?;
    print(&args.api, &answer, |_| format!("run {id} is rejected by {}", args.api.by));
    Ok(Done::Well)
}

pub(crate) fn ci(args: CiArgs) -> Outcome {
    let client = Client::new(&args.api)?;
    match args.command {
        CiCommand::Import { file, scope } => {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let expected = || format!("{}: expected `cis:` and `relations:`", file.display());
            let body: Value = serde_yaml::from_str(&text).with_context(expected)?;
            if !body.is_object() {
                bail!(expected());
            }
            let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
            let (cis, relations) = (list("cis"), list("relations"));
            // In parts that fit a request; relations last, when all that they name is there.
            let part = |cis: &[Value], relations: &[Value]| {
                let body = json!({"by": args.api.by, "scope": scope, "cis": cis, "relations": relations});
                client.post(&format!("/api/v1/cmdb?{WAIT}"), &body)
            };
            for some in cis.chunks(IMPORT_AT_ONCE) {
                part(some, &[])?;
            }
            for some in relations.chunks(IMPORT_AT_ONCE) {
                part(&[], some)?;
            }
            let answer = json!({"cis": cis.len(), "relations": relations.len(), "scope": scope});
            print(&args.api, &answer, |_| {
                format!("{} CIs and {} relations imported into scope {scope}", cis.len(), relations.len())
            });
        }
        CiCommand::List { scope, name } => {
            let mut query = vec![("scope", scope)];
            query.extend(name.map(|n| ("name", n)));
            let answer = client.get("/api/v1/cis", &query)?;
            print(&args.api, &answer, |a| {
                table(
                    &["NAME", "CLASS", "ENVIRONMENT", "STATUS"],
                    items(a, "cis").iter().map(|c| {
                        ["name", "class", "environment", "operational_status"]
                            .iter()
                            .map(|f| text(c, f).to_owned())
                            .collect()
                    }),
                )
            });
        }
    }
    Ok(Done::Well)
}

fn halt_scope(args: &HaltArgs) -> HaltScope {
    let one = |value: &Option<String>, make: fn(String) -> HaltScope| value.clone().map(make);
    one(&args.playbook, HaltScope::Playbook)
        .or_else(|| one(&args.rulebook, HaltScope::Rulebook))
        .or_else(|| one(&args.environment, HaltScope::Environment))
        .or_else(|| one(&args.ci_class, HaltScope::CiClass))
        .unwrap_or(HaltScope::All)
}

/// Easy: when no engine answers, the halt file is written all the same, and holds when one starts.
pub(crate) fn halt(args: &HaltArgs) -> Outcome {
    let scope = halt_scope(args);
    // Who is in a hurry need not give one; the record wants some.
    let reason = if args.reason.trim().is_empty() { "no reason given" } else { &args.reason };
    let body = json!({"by": args.api.by, "reason": reason, "scope": scope});
    match Client::new(&args.api)?.post("/api/v1/halt", &body) {
        Ok(answer) => print(&args.api, &answer, |_| format!("halted: {}; pages go on", halted(&scope))),
        Err(error) if matches!(error.downcast_ref(), Some(ApiError::Away(_))) => {
            let file = HaltFile::in_folder(&args.data);
            if !args.data.is_dir() {
                return Err(
                    error.context(format!("{} is no data folder either; name it with --data", args.data.display()))
                );
            }
            let halt = Halt {
                scope,
                by: args.api.by.clone(),
                reason: reason.to_owned(),
                at: paramedic_runtime::clock::wall(),
            };
            file.add(&halt).with_context(|| file.path().display().to_string())?;
            println!(
                "no engine answers at {}; {} is written: any engine on that folder is halted",
                args.api.url,
                file.path().display()
            );
        }
        Err(error) => return Err(error),
    }
    Ok(Done::Well)
}

fn halted(scope: &HaltScope) -> String {
    match scope {
        HaltScope::All => "no run of a playbook leaves".to_owned(),
        HaltScope::Environment(e) => format!("no run leaves for environment {e}; others do"),
        HaltScope::Rulebook(r) => format!("no run of rulebook {r} leaves; others do"),
        HaltScope::Playbook(p) => format!("no run of playbook {p} leaves; others do"),
        HaltScope::CiClass(c) => format!("no run leaves for class {c}; others do"),
    }
}

/// Deliberate: over the API, with a reason.
pub(crate) fn resume(args: &HaltArgs) -> Outcome {
    if args.reason.trim().is_empty() {
        bail!("say why it is safe to resume: --reason \"...\"");
    }
    let body = json!({"by": args.api.by, "reason": args.reason, "scope": halt_scope(args)});
    let answer = Client::new(&args.api)?.post("/api/v1/resume", &body)?;
    print(&args.api, &answer, |a| {
        let left = items(a, "halts");
        if left.is_empty() {
            "resumed: no halt is in force".to_owned()
        } else {
            format!("that halt is taken back; {} others are in force", left.len())
        }
    });
    Ok(Done::Well)
}

pub(crate) fn status(args: &StatusArgs) -> Outcome {
    let answer = Client::new(&args.api)?.get("/api/v1/status", &[])?;
    print(&args.api, &answer, |a| {
        let mut out =
            format!("cluster {}   version {}   ready {}\n", text(a, "cluster"), text(a, "version"), a["ready"]);
        for reason in items(a, "reasons") {
            out.push_str(&format!("  not well: {}\n", printable(reason.as_str().unwrap_or_default())));
        }
        for halt in items(a, "halts") {
            out.push_str(&format!("  HALTED {} by {}: {}\n", halt["scope"], text(&halt, "by"), text(&halt, "reason")));
        }
        if let Some(why) = a["recovered"]["why"].as_str() {
            out.push_str(&format!("  RECOVERED {}: see `paramedic recovered show`\n", printable(why)));
        }
        let refused = &a["rules_refused"];
        if refused.is_object() {
            out.push_str(&format!(
                "  RULES REFUSED {} by {} ({}, {} in all): {}\n  {:.12} stays in force; `paramedic rules reload` shows all\n",
                short_time(&refused["at"]),
                printable(text(refused, "by")),
                text(refused, "result"),
                refused["problems"],
                text(refused, "problem").lines().map(printable).collect::<Vec<_>>().join("\n    "),
                text(a, "rules")
            ));
        }
        for (name, value) in a.as_object().into_iter().flatten() {
            let told = ["cluster", "version", "ready", "reasons", "halts", "recovered", "rules_refused"];
            if !told.contains(&name.as_str()) {
                out.push_str(&format!("{name}: {value}\n"));
            }
        }
        out
    });
    Ok(if answer["ready"].as_bool() == Some(true) { Done::Well } else { Done::Found })
}
