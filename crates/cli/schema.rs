//! `paramedic schema`: what files may say, for editors.

use paramedic_rulebook::schema::RuleFile;
use paramedic_sim::scenario::schema as of_rules;

use crate::args::{SchemaArgs, SchemaOf};
use crate::{Done, Outcome};

pub(crate) fn schema(args: &SchemaArgs) -> Outcome {
    let schema = match args.of {
        SchemaOf::Rules => of_rules(RuleFile::Any),
        SchemaOf::Rulebook => of_rules(RuleFile::Rulebook),
        SchemaOf::Site => of_rules(RuleFile::Site),
        SchemaOf::Playbook => of_rules(RuleFile::Catalogue),
        SchemaOf::Scenario => of_rules(RuleFile::Scenario),
        SchemaOf::Config => paramedic_runtime::config_schema(),
        SchemaOf::Event => paramedic_formats::event_schema(),
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(Done::Well)
}
