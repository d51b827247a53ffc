//! IP networks.

use rhai::{Dynamic, Engine, EvalAltResult, Expr, FnCallExpr, ImmutableString};

use super::{Env, Family, Function, Wrong};
use crate::value::Network;

pub(super) const FAMILY: Family = Family { title: "Networks", functions: &FUNCTIONS, register, check };

const FUNCTIONS: [Function; 1] = [Function {
    name: "in_network",
    signature: "in_network(text, network) -> bool",
    meaning: "Whether the text is an IP address in the network, written as CIDR; a text that is no address is in none.",
    example: "event.labels.ip.in_network(\"10.0.0.0/8\") && !in_network(\"2001:db8::1\", \"10.0.0.0/8\")",
}];

fn register(engine: &mut Engine, _: &Env<'_>) {
    engine.register_fn(
        "in_network",
        |address: ImmutableString, network: ImmutableString| -> Result<bool, Box<EvalAltResult>> {
            Ok(Network::new(&network)?.holds(&address))
        },
    );
    engine.register_fn("in_network", |(): (), _: Dynamic| false);
}

fn check(call: &FnCallExpr) -> Option<Wrong> {
    let (true, Some(Expr::StringConstant(network, _))) = (call.name == "in_network", call.args.last()) else {
        return None;
    };
    Network::new(network).err().map(|why| (why, None))
}
