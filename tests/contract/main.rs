//! What every model promises, whoever wrote it: one macro, one list of tests for each.
//!
//! A new model adds one `contract!` line at the end of this file.

mod allocations;
#[macro_use]
mod contract;
mod growth;
mod promises;
mod single;
mod world;

use starple::model::{
    AsymmetricConfig, Branches, CgcConfig, CrossStitchConfig, CrossStructure, CustomizedConfig, Fusion,
    InteractionsConfig, MlMmoeConfig, MmoeConfig, MoeConfig, MranConfig, PepnetConfig, SharedBottomConfig,
    SingleConfig, SluiceConfig,
};
use starple::nn::{ActivationKind, Combination, NormKind};
use starple::{PleConfig, PooledConfig, StarConfig};

use crate::world::layout;

/// Whether rows have a sequence with attention: `tests/attended.rs` repeats the promises with one.
const SEQUENCES: bool = false;

fn star() -> starple::model::StarConfigBuilder {
    StarConfig::builder(&layout()).embedding_dim(4).hidden([12, 8]).auxiliary_hidden([8]).domain_dim(3)
}

fn ple(branches: Branches, levels: usize) -> starple::model::PleConfigBuilder {
    let config = PleConfig::builder(&layout()).embedding_dim(4).branches(branches).levels(levels).seed(2);
    config.expert_hidden([10]).tower_hidden([8])
}

fn mmoe(branches: Branches) -> starple::model::MmoeConfigBuilder {
    MmoeConfig::builder(&layout()).embedding_dim(4).branches(branches).expert_hidden([10]).tower_hidden([8])
}

fn moe(branches: Branches) -> starple::model::MoeConfigBuilder {
    MoeConfig::builder(&layout()).embedding_dim(4).branches(branches).expert_hidden([10]).tower_hidden([8])
}

fn mran(branches: Branches) -> starple::model::MranConfigBuilder {
    let config = MranConfig::builder(&layout()).embedding_dim(4).branches(branches).head_width(3);
    config.tower_hidden([8])
}

fn single(branches: Branches) -> starple::model::SingleConfigBuilder {
    SingleConfig::builder(&layout()).embedding_dim(4).branches(branches).hidden([8])
}

fn shared_bottom(branches: Branches) -> starple::model::SharedBottomConfigBuilder {
    SharedBottomConfig::builder(&layout()).embedding_dim(4).branches(branches).bottom_hidden([10]).tower_hidden([8])
}

fn asymmetric(branches: Branches) -> starple::model::AsymmetricConfigBuilder {
    AsymmetricConfig::builder(&layout()).embedding_dim(4).branches(branches).bottom_hidden([10]).tower_hidden([8])
}

/// Bottoms learn from all towers that read them.
fn own_bottoms(name: &str) -> bool {
    name.starts_with("net.own")
}

fn customized(branches: Branches) -> starple::model::CustomizedConfigBuilder {
    CustomizedConfig::builder(&layout()).embedding_dim(4).branches(branches).bottom_hidden([10]).tower_hidden([8])
}

fn ml_mmoe(branches: Branches) -> starple::model::MlMmoeConfigBuilder {
    MlMmoeConfig::builder(&layout()).embedding_dim(4).branches(branches).expert_hidden([10]).tower_hidden([8])
}

fn cross_stitch(branches: Branches) -> starple::model::CrossStitchConfigBuilder {
    CrossStitchConfig::builder(&layout()).embedding_dim(4).branches(branches).hidden([10, 8])
}

fn sluice(branches: Branches) -> starple::model::SluiceConfigBuilder {
    SluiceConfig::builder(&layout()).embedding_dim(4).branches(branches).hidden([8, 8]).tower_hidden([8]).seed(2)
}

/// Gates for the domain, the user and the item.
fn pepnet() -> starple::model::PepnetConfigBuilder {
    let config = PepnetConfig::builder(&layout()).embedding_dim(4).hidden([10, 8]).domain_dim(3).gate_hidden(6);
    config.priors(["user", "item"])
}

/// Stitched stacks learn from everybody's rows, and below the second and last layer so do the units that feed them.
fn stacks(name: &str) -> bool {
    ["net.layers.0", "net.layers.1.own"].iter().any(|part| name.starts_with(part))
}

/// In PLE the shared gates below the last level read the experts of all branches: those, and the gates of the level below
/// that feed them, learn from everybody's rows.
fn below(levels: usize) -> impl Fn(&str) -> bool {
    let within = |name: &str, levels: usize, part: &str| {
        (0..levels).any(|level| name.starts_with(&format!("net.levels.{level}.{part}")))
    };
    move |name| within(name, levels - 1, "own") || within(name, levels.saturating_sub(2), "gates")
}

/// In MRAN a branch's representation is seen by all that the branches attend to.
fn seen(name: &str) -> bool {
    name.starts_with("net.representations.")
}

/// A factorization machine and cross layers in front of a net.
fn interactions(layers: usize, rank: Option<usize>, structure: CrossStructure) -> InteractionsConfig {
    let settings = InteractionsConfig::builder().fm(true).cross_layers(layers).cross_rank(rank);
    settings.cross_structure(structure).build().unwrap()
}

contract!(star_crossed, star().interactions(interactions(2, Some(3), CrossStructure::Stacked)).build().unwrap());
contract!(
    ple_domains_crossed,
    ple(Branches::Domains, 2).interactions(interactions(1, None, CrossStructure::Parallel)).build().unwrap(),
    below(2)
);
contract!(
    mran_tasks_crossed,
    mran(Branches::Tasks).interactions(interactions(1, Some(2), CrossStructure::Parallel)).build().unwrap(),
    seen
);
contract!(
    single_both_crossed,
    single(Branches::DomainsAndTasks).interactions(interactions(1, None, CrossStructure::Stacked)).build().unwrap()
);
contract!(
    single_tasks_crossed,
    single(Branches::Tasks).interactions(interactions(1, Some(2), CrossStructure::Parallel)).build().unwrap()
);
contract!(pepnet_crossed, pepnet().interactions(interactions(2, None, CrossStructure::Stacked)).build().unwrap());
contract!(star, star().build().unwrap());
contract!(star_with_dropout_and_gelu, star().dropout(0.3).activation(ActivationKind::Gelu).build().unwrap());
contract!(star_with_dice, star().activation(ActivationKind::Dice).build().unwrap());
contract!(star_without_auxiliary_or_norm, star().auxiliary(false).partitioned_norm(false).build().unwrap());
contract!(star_add, star().combination(Combination::Add).build().unwrap());
contract!(star_adaptive_add, star().combination(Combination::AdaptiveAdd).build().unwrap());
contract!(star_gate, star().combination(Combination::SigmoidGate).build().unwrap());
contract!(star_concatenation, star().combination(Combination::Concatenation).build().unwrap());
contract!(star_low_rank, star().combination(Combination::low_rank()).build().unwrap());
contract!(star_ensemble, star().members(2).field_dropout(0.2).build().unwrap());
contract!(ple_ensemble, ple(Branches::Domains, 1).members(3).build().unwrap());
contract!(single_with_field_dropout, single(Branches::Domains).field_dropout(0.2).build().unwrap());
contract!(ple_tasks, ple(Branches::Tasks, 2).build().unwrap(), below(2));
contract!(ple_tasks_three_levels, ple(Branches::Tasks, 3).build().unwrap(), below(3));
contract!(ple_one_level, ple(Branches::Domains, 1).build().unwrap());
contract!(ple_domains, ple(Branches::Domains, 2).dropout(0.2).build().unwrap(), below(2));
contract!(ple_domains_and_tasks, ple(Branches::DomainsAndTasks, 2).build().unwrap(), below(2));
contract!(cgc, CgcConfig::builder(&layout()).embedding_dim(4).expert_hidden([10]).tower_hidden([8]).build().unwrap());
contract!(mmoe, mmoe(Branches::Tasks).build().unwrap());
contract!(mmoe_domains, mmoe(Branches::Domains).dropout(0.2).seed(1).build().unwrap());
contract!(moe_tasks, moe(Branches::Tasks).build().unwrap());
contract!(moe_domains_and_tasks, moe(Branches::DomainsAndTasks).dropout(0.2).build().unwrap());
contract!(mran_tasks, mran(Branches::Tasks).build().unwrap(), seen);
contract!(mran_domains, mran(Branches::Domains).attention_layers(2).dropout(0.2).build().unwrap(), seen);
contract!(
    mran_domains_and_tasks,
    mran(Branches::DomainsAndTasks).activation(ActivationKind::Silu).norm(NormKind::Batch).build().unwrap(),
    seen
);
contract!(
    mran_branches_alone,
    mran(Branches::Domains).attention_layers(0).branch_attention(false).norm(NormKind::Layer).build().unwrap()
);
contract!(single_tasks, single(Branches::Tasks).build().unwrap());
contract!(single_domains, single(Branches::Domains).dropout(0.2).build().unwrap());
contract!(single_domains_and_tasks, single(Branches::DomainsAndTasks).build().unwrap());
contract!(shared_bottom_tasks, shared_bottom(Branches::Tasks).build().unwrap());
contract!(shared_bottom_domains, shared_bottom(Branches::Domains).build().unwrap());
contract!(shared_bottom_both, shared_bottom(Branches::DomainsAndTasks).dropout(0.2).build().unwrap());
contract!(asymmetric_tasks, asymmetric(Branches::Tasks).build().unwrap(), own_bottoms);
contract!(asymmetric_domains, asymmetric(Branches::Domains).build().unwrap(), own_bottoms);
contract!(
    asymmetric_by_name,
    asymmetric(Branches::Tasks).fusion(Fusion::Sum).reads([("click".into(), vec!["buy".into()])]).build().unwrap(),
    own_bottoms
);
contract!(customized_tasks, customized(Branches::Tasks).build().unwrap());
contract!(customized_domains, customized(Branches::Domains).dropout(0.2).fusion(Fusion::Mean).build().unwrap());
contract!(customized_both, customized(Branches::DomainsAndTasks).build().unwrap());
contract!(ml_mmoe_tasks, ml_mmoe(Branches::Tasks).build().unwrap());
contract!(ml_mmoe_domains, ml_mmoe(Branches::Domains).dropout(0.2).levels(3).build().unwrap());
contract!(cross_stitch_tasks, cross_stitch(Branches::Tasks).build().unwrap(), stacks);
contract!(cross_stitch_domains, cross_stitch(Branches::Domains).build().unwrap(), stacks);
contract!(cross_stitch_both, cross_stitch(Branches::DomainsAndTasks).build().unwrap(), stacks);
contract!(sluice_tasks, sluice(Branches::Tasks).subspaces(4).build().unwrap(), stacks);
contract!(sluice_domains, sluice(Branches::Domains).build().unwrap(), stacks);
contract!(sluice_both, sluice(Branches::DomainsAndTasks).dropout(0.2).build().unwrap(), stacks);
contract!(pepnet_both, pepnet().build().unwrap());
contract!(pepnet_epnet, pepnet().priors([""; 0]).gate_hidden(None).dropout(0.2).build().unwrap());
contract!(pepnet_ppnet, pepnet().epnet(false).gates_from_zero(false).build().unwrap());
contract!(
    pepnet_all_gates,
    pepnet().priors(["tags"]).gate_input(true).activation(ActivationKind::Silu).norm(NormKind::Batch).build().unwrap()
);
contract!(pooled, PooledConfig::builder(&layout()).embedding_dim(4).hidden([12, 8]).domain_dim(3).build().unwrap());
