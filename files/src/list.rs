//! Lists of elements of a [`SlotMap`], linked through the elements: joining and leaving take constant time anywhere in
//! the list, and no memory. For example, an interest of an `epoll` is in the list of its file and perhaps in the ready
//! list of its `epoll`, with a [`Link`] for each.

use crate::slot_map::{Key, SlotMap};

/// An element's neighbours in a list.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Link {
    previous: Option<Key>,
    pub(crate) next: Option<Key>,
}

/// The ends of a list. The functions below take `of`, which selects the link that an element has for this list, since
/// it may be in several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct List {
    pub(crate) first: Option<Key>,
    pub(crate) last: Option<Key>,
}

impl List {
    /// Adds an element at the end, or in front.
    pub(crate) fn join<T>(&mut self, all: &mut SlotMap<T>, key: Key, front: bool, of: fn(&mut T) -> &mut Link) {
        let link = if front {
            Link { previous: None, next: self.first.replace(key) }
        } else {
            Link { previous: self.last.replace(key), next: None }
        };
        if let Some(element) = all.get_mut(key) {
            *of(element) = link;
        }
        self.connect(all, link, (Some(key), Some(key)), of);
    }

    /// Removes an element that is in the list.
    pub(crate) fn leave<T>(&mut self, all: &mut SlotMap<T>, key: Key, of: fn(&mut T) -> &mut Link) {
        let Some(element) = all.get_mut(key) else { return };
        let link = core::mem::take(of(element));
        self.connect(all, link, (link.next, link.previous), of);
    }

    /// Makes `after` and `before` the new neighbours of the elements that a link names, or the ends of the list where
    /// it names none.
    fn connect<T>(
        &mut self,
        all: &mut SlotMap<T>,
        link: Link,
        (after, before): (Option<Key>, Option<Key>),
        of: fn(&mut T) -> &mut Link,
    ) {
        match link.previous.and_then(|previous| all.get_mut(previous)) {
            Some(previous) => of(previous).next = after,
            None => self.first = after,
        }
        match link.next.and_then(|next| all.get_mut(next)) {
            Some(next) => of(next).previous = before,
            None => self.last = before,
        }
    }
}
