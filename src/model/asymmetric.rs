//! Asymmetric sharing.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::bottoms::Bottoms;
use super::check::{check_bottoms, check_widths};
use super::config::model_config;
use super::{Branches, Fusion, Model};
use crate::data::{DomainId, Layout, listed};
use crate::net::{Builder, Built, Describe};
use crate::nn::Branch;

model_config! {
    /// The settings of [`Asymmetric`](super::Asymmetric), the model in which the tower of a branch can read the bottoms of other branches. A
    /// branch is a task, a domain, or a task in a domain ([`Branches`]).
    AsymmetricConfig, AsymmetricConfigBuilder, "asymmetric", branches: Branches::Auto => {
        /// The widths of the layers of each bottom, from the input up, each from 1 to 65536. From 1 to 256 layers; default one layer of
        /// width 128. A bottom is a stack of layers that reads the [embedded row](crate::model::Embeddings).
        bottom_hidden: Vec<usize> = vec![128], from impl Into<Vec<usize>>, as &[usize];
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
        /// How the outputs of the bottoms that a tower reads are joined to the input of the tower; default by concatenation.
        fusion: Fusion = Fusion::Concatenate;
        /// Which bottoms the tower of a branch reads in addition to the bottom of its own branch. A key is the name of a branch; the value
        /// lists the names of the other branches whose bottoms the tower of this branch reads. The name of a branch is that of its task,
        /// that of its domain, or `DOMAIN/TASK`, depending on what branches are ([`Branch::name`](crate::nn::Branch::name)).
        ///
        /// By default the map is empty: then the tower of each branch also reads the bottoms of all branches before it in the order of
        /// [`Branches::of`]. If the map is not empty, the tower of a branch without an entry reads only its own bottom.
        reads: BTreeMap<String, Vec<String>> = BTreeMap::new(), from impl Into<BTreeMap<String, Vec<String>>>,
            as &BTreeMap<String, Vec<String>>;
    }
    check(this, problems) {
        check_bottoms(&this.bottom_hidden, problems);
        check_widths("tower_hidden", &this.tower_hidden, problems);
        let (names, mut strangers) = (Names::new(this.branches, &this.layout), Vec::new());
        for (reader, read) in &this.reads {
            let mut known = HashSet::from([reader]);
            for name in read {
                problems.require(known.insert(name), || {
                    format!("reads.{reader}: {name:?} is listed twice, or is the reader, which reads its own bottom anyway; remove it")
                });
            }
            strangers.extend(std::iter::once(reader).chain(read).filter(|name| names.position(name).is_none()));
        }
        problems.require(strangers.is_empty(), || {
            format!("reads: {} is not a branch, expected one of {}", listed(&strangers), names.shown())
        });
    }
}

/// Asymmetric sharing (Tang et al., RecSys 2020, figure 1 b): every branch has a bottom and a tower. The tower of a branch reads its own
/// bottom, and can read the bottoms of other branches too.
///
/// ```text
///  tower A      tower B         ŷ^k = t^k(fusion(b^j(x) for all j that k reads, k first))
///     │        ╱   │
///  bottom A      bottom B
///        ╲      ╱
///           x
/// ```
///
/// Here x is the [embedded row](crate::model::Embeddings), `b^j` is the bottom of branch j, and `t^k` is the tower of branch k, whose
/// logits are `ŷ^k`. The setting `fusion` says how the outputs of several bottoms are joined. In training, a bottom gets gradients from
/// every tower that reads it.
pub type Asymmetric = Model;

impl Describe for AsymmetricConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let settings = &self.0;
        let bottoms = Bottoms {
            bottom_hidden: &settings.bottom_hidden,
            tower_hidden: &settings.tower_hidden,
            shared: false,
            fusion: settings.fusion,
            style: settings.style(),
        };
        if settings.reads.is_empty() {
            return bottoms.describe(self, Some(&|branch| std::iter::once(branch).chain(0..branch)), net);
        }
        let mut reads: HashMap<usize, Vec<usize>> = HashMap::new();
        let names = Names::new(settings.branches, &settings.layout);
        let position = |name: &String| names.position(name).expect("names were checked");
        for (reader, read) in &settings.reads {
            reads.entry(position(reader)).or_default().extend(read.iter().map(position));
        }
        let reads = |branch| std::iter::once(branch).chain(reads.get(&branch).into_iter().flatten().copied());
        bottoms.describe(self, Some(&reads), net)
    }
}

/// Finds branches by name without a list of all branches: domains × tasks can be very many.
struct Names<'a> {
    branches: Branches,
    layout: &'a Layout,
    domains: HashMap<String, usize>,
    tasks: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    fn new(branches: Branches, layout: &'a Layout) -> Self {
        let domain = |d| (Branch::Domain(DomainId::new(d)).name(layout), d);
        let task = |t| (Branch::Task(t).name(layout), t);
        let domains = (0..layout.domains.len()).map(domain).collect();
        Self { branches, layout, domains, tasks: (0..layout.tasks.len()).map(task).collect() }
    }

    fn position(&self, name: &str) -> Option<usize> {
        match self.branches {
            Branches::Auto | Branches::Tasks => self.tasks.get(name).copied(),
            Branches::Domains => self.domains.get(name).copied(),
            Branches::DomainsAndTasks => {
                let (domain, task) = name.split_once('/')?;
                Some(self.domains.get(domain)? * self.tasks.len() + self.tasks.get(task)?)
            }
        }
    }

    /// The first names, for an error text.
    fn shown(&self) -> String {
        let count = self.branches.count(self.layout);
        let names = (0..count.min(30)).map(|index| self.branches.nth(index, self.layout).name(self.layout));
        let more = if count > 30 { ", …" } else { "" };
        format!("{}{more}", names.collect::<Vec<_>>().join(", "))
    }
}
