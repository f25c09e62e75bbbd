//! What every model promises, with a sequence that attention pools. See `tests/contract/`.

#[path = "contract/allocations.rs"]
mod allocations;
#[macro_use]
#[path = "contract/contract.rs"]
mod contract;
#[path = "contract/growth.rs"]
mod growth;
#[path = "contract/promises.rs"]
mod promises;
#[path = "contract/world.rs"]
mod world;

use starple::model::{Branches, MmoeConfig, MranConfig, PepnetConfig, SingleConfig};
use starple::nn::ActivationKind;
use starple::{PleConfig, PooledConfig, StarConfig};

use crate::world::layout;

/// Whether rows have a sequence with attention.
const SEQUENCES: bool = true;

fn single(branches: Branches) -> SingleConfig {
    SingleConfig::builder(&layout()).embedding_dim(4).branches(branches).hidden([8]).build().unwrap()
}

fn ple(branches: Branches) -> PleConfig {
    let ple = PleConfig::builder(&layout()).embedding_dim(4).branches(branches).levels(1).seed(2);
    ple.expert_hidden([10]).tower_hidden([8]).build().unwrap()
}

contract!(
    star,
    StarConfig::builder(&layout())
        .embedding_dim(4)
        .hidden([12, 8])
        .auxiliary_hidden([8])
        .domain_dim(3)
        .build()
        .unwrap()
);
contract!(pooled, PooledConfig::builder(&layout()).embedding_dim(4).hidden([12, 8]).domain_dim(3).build().unwrap());
contract!(single_tasks, single(Branches::Tasks));
contract!(single_domains, single(Branches::Domains));
contract!(single_domains_and_tasks, single(Branches::DomainsAndTasks));
contract!(ple_tasks, ple(Branches::Tasks));
contract!(ple_domains, ple(Branches::Domains));
contract!(
    mmoe_with_dice,
    MmoeConfig::builder(&layout())
        .embedding_dim(4)
        .activation(ActivationKind::Dice)
        .expert_hidden([10])
        .build()
        .unwrap()
);
/// In MRAN a branch's representation is seen by all that the branches attend to.
fn seen(name: &str) -> bool {
    name.starts_with("net.representations.")
}

contract!(mran, MranConfig::builder(&layout()).embedding_dim(4).head_width(3).tower_hidden([8]).build().unwrap(), seen);
contract!(
    pepnet,
    PepnetConfig::builder(&layout())
        .embedding_dim(4)
        .priors(["user"])
        .gates_from_zero(false)
        .hidden([8])
        .build()
        .unwrap()
);
