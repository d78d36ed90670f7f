//! Places for those who listen: so many in all, and so many for one subject, so that one key may not take all. An operator
//! may: whoever looks after the service also has programs that listen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::auth::Principal;

/// The most streams that one process serves,
pub const READERS_MAX: usize = 1_000;
/// and of them those of one subject.
pub const READERS_OF_ONE_MAX: usize = 200;

/// Who has places.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<String, usize>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    subject: String,
}

impl Places {
    /// A place, if there is one for this principal.
    #[must_use]
    pub fn take(self: &Arc<Self>, principal: &Principal) -> Option<Place> {
        let mut taken = self.lock();
        let most = if principal.may(&[]) { READERS_MAX } else { READERS_OF_ONE_MAX };
        let its = taken.get(&principal.subject).copied().unwrap_or_default();
        if its >= most || taken.values().sum::<usize>() >= READERS_MAX {
            return None;
        }
        taken.insert(principal.subject.clone(), its + 1);
        Some(Place { places: self.clone(), subject: principal.subject.clone() })
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(its) = taken.get_mut(&self.subject) {
            *its -= 1;
            if *its == 0 {
                taken.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::Scope;

    #[test]
    fn one_subject_has_its_share_and_an_operator_what_is_left() {
        let places = Arc::<Places>::default();
        let of = |subject: &str, scope| Principal { subject: subject.to_owned(), scopes: vec![scope] };
        let (ann, admin) = (of("ann", Scope::Storefront), of("admin", Scope::Operator));
        let mut hers: Vec<_> = (0..READERS_OF_ONE_MAX).map(|_| places.take(&ann).unwrap()).collect();
        assert!(places.take(&ann).is_none());
        let all: Vec<_> = (READERS_OF_ONE_MAX..READERS_MAX).map(|_| places.take(&admin).unwrap()).collect();
        assert!(places.take(&admin).is_none() && places.taken() == READERS_MAX);
        drop(hers.pop());
        assert!(places.take(&ann).is_some());
        drop((hers, all));
        assert_eq!((places.taken(), places.lock().len()), (0, 0));
    }
}
