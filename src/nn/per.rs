//! Values that belong to one domain or one branch each.

use super::{Branch, Leaf, LeafMut, Pair, Params, Part, Path};
use crate::data::DomainId;

/// What a member of a [`Per`] belongs to: a domain ([`DomainId`]) or a branch ([`Branch`]). You need not implement it.
pub trait Key: Copy + PartialEq {
    /// The part of a parameter's dotted name ([`Path::name`]) that names this domain or branch: [`Part::Domain`] or [`Part::Branch`].
    fn part(self) -> Part;
}

impl Key for DomainId {
    fn part(self) -> Part {
        Part::Domain(self)
    }
}

impl Key for Branch {
    fn part(self) -> Part {
        Part::Branch(self)
    }
}

/// A list of *members*, for example layers. Each member belongs to one domain or one branch, which is its *key*. Use it for parameters that
/// only some rows or tasks train.
///
/// In a gradient, a member is *present* if it had rows or labels in this step; [`Per::touch`] marks it so. If a member is not present, the
/// optimizer changes neither its values nor its optimizer state, and weight decay skips it.
#[derive(Debug, Clone, PartialEq)]
pub struct Per<K, T> {
    keys: Vec<K>,
    members: Vec<T>,
    present: Vec<bool>,
}

/// A [`Per`] with one member for each domain, in the order of [`Layout::domains`](crate::data::Layout::domains).
pub type PerDomain<T> = Per<DomainId, T>;

/// A [`Per`] with one member for each [`Branch`] (a task, a domain, or a task in a domain).
pub type PerBranch<T> = Per<Branch, T>;

impl<K: Key, T> Per<K, T> {
    /// A list with one member for each key of `keys`, in this order. The function `member` makes the member of a key.
    pub fn new(keys: impl IntoIterator<Item = K>, mut member: impl FnMut(K) -> T) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        let members: Vec<T> = keys.iter().map(|&key| member(key)).collect();
        Self { present: vec![true; keys.len()], keys, members }
    }

    /// Adds `member`, which belongs to `key`, at the end of the list. In a gradient, the new member is present.
    pub fn push(&mut self, key: K, member: T) {
        self.keys.push(key);
        self.members.push(member);
        self.present.push(true);
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the list has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members, in the order of their keys.
    pub(crate) fn into_members(self) -> Vec<T> {
        self.members
    }

    /// The keys: the domain or branch of each member, in the order of the list.
    pub fn keys(&self) -> &[K] {
        &self.keys
    }

    /// The members, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.members.iter()
    }

    /// The member at the position `index`, from 0, to change its values. To change a gradient, use [`Per::touch`] instead, which also marks
    /// the member as present.
    ///
    /// # Panics
    /// If `index` is not below [`Per::len`].
    pub fn member_mut(&mut self, index: usize) -> &mut T {
        &mut self.members[index]
    }

    /// For a gradient. Marks the member at the position `index`, from 0, as present in this step, and returns it. Add the gradient to its
    /// values.
    ///
    /// # Panics
    /// If `index` is not below [`Per::len`].
    pub fn touch(&mut self, index: usize) -> &mut T {
        self.present[index] = true;
        &mut self.members[index]
    }

    /// The gradients of all members, and marks these present in the step.
    pub(crate) fn touch_all(&mut self, indices: impl Iterator<Item = usize>) -> &mut [T] {
        indices.for_each(|index| self.present[index] = true);
        &mut self.members
    }
}

impl<T> PerDomain<T> {
    /// The member that belongs to `domain`. `None` for [`DomainId::SHARED`], which has no parameters of its own.
    ///
    /// # Panics
    /// If the list has no member for `domain`.
    pub fn of(&self, domain: DomainId) -> Option<&T> {
        domain.index().map(|index| &self.members[index])
    }
}

impl<K, T> std::ops::Index<usize> for Per<K, T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.members[index]
    }
}

impl<K: Key, T: Params> Params for Per<K, T> {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        for ((key, &present), member) in self.keys.iter().zip(&self.present).zip(&self.members) {
            path.within_member(key.part(), present, |path| member.visit(path, see));
        }
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        for ((key, &present), member) in self.keys.iter().zip(&self.present).zip(&mut self.members) {
            path.within_member(key.part(), present, |path| member.visit_mut(path, see));
        }
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        let members = self.members.iter_mut().zip(&mut grad.members);
        let presence = self.present.iter_mut().zip(&grad.present);
        for ((key, (own, &present)), (member, grad)) in self.keys.iter().zip(presence).zip(members) {
            *own |= present;
            path.within_member(key.part(), present, |path| member.visit_pair(grad, path, see));
        }
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        for (present, member) in self.present.iter_mut().zip(&mut self.members) {
            see(present);
            member.visit_presence(see);
        }
    }

    fn zero(&mut self) {
        for (present, member) in self.present.iter_mut().zip(&mut self.members) {
            if std::mem::take(present) {
                member.zero();
            }
        }
    }

    fn dismiss(&mut self) {
        for (present, member) in self.present.iter_mut().zip(&mut self.members) {
            if std::mem::take(present) {
                member.dismiss();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;
    use crate::nn::Decay;

    #[test]
    fn an_absent_member_is_walked_but_not_present() {
        #[derive(Clone)]
        struct One {
            value: Array1<f32>,
        }
        crate::params!(One { value: Decay::None });
        let domains = [DomainId::new(0), DomainId::new(1)];
        let mut values = Per::new(domains, |_| One { value: Array1::ones(2) });
        let mut grad = values.zeros_like();
        grad.touch(1).value[0] = 7.0;
        let mut seen = Vec::new();
        values.visit_pair(&mut grad, &mut Path::starting_at(3), &mut |path, pair| {
            let Pair::Tensor(_, grad, _) = pair else { panic!("a tensor") };
            seen.push((path.slot(), path.present(), grad[0]));
        });
        assert_eq!(seen, [(3, false, 0.0), (4, true, 7.0)]);
        // Parameters are always present; a gradient becomes so where another is.
        assert_eq!(values.present, [true, true]);
        let mut sum = values.zeros_like();
        sum.touch(0);
        sum.visit_pair(&mut grad, &mut Path::starting_at(0), &mut |_, _| {});
        assert_eq!((&sum.present[..], &grad.present[..]), (&[true, true][..], &[false, true][..]));
        let mut dismissed = grad.clone();
        dismissed.dismiss();
        grad.zero();
        assert_eq!((grad.members[1].value[0], dismissed.members[1].value[0]), (0.0, 7.0));
        assert_eq!((&grad.present[..], &dismissed.present[..]), (&[false, false][..], &[false, false][..]));
    }
}
