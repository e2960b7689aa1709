//! One page out of several sorted lists, for a bounded amount of work.
//!
//! A list across fleets is the merge of a list for each fleet, each along an index of its own. Rows that a filter leaves out
//! count as work too: when the work is used up, the page ends early, and its cursor says how far everything was looked at.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// A page.
pub(crate) struct Merged<K, R> {
    pub(crate) rows: Vec<R>,
    /// Behind this the next page begins; none: there is nothing more.
    pub(crate) next: Option<K>,
}

/// What was read of one list.
pub(crate) struct Chunk<K, R> {
    /// What the filter let through, in order.
    pub(crate) rows: VecDeque<(K, R)>,
    /// How many rows were looked at. Fewer than asked for: the list is at its end.
    pub(crate) examined: usize,
    /// The last row looked at.
    pub(crate) last: Option<K>,
}

impl<K, R> Chunk<K, R> {
    pub(crate) fn none() -> Self {
        Self {
            rows: VecDeque::new(),
            examined: 0,
            last: None,
        }
    }
}

/// How much is read.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Rows in the page.
    pub(crate) limit: usize,
    /// Rows looked at, about: each list is looked at once, whatever it costs.
    pub(crate) budget: usize,
}

/// Rows looked at in one go: at least, at most.
const CHUNK: (usize, usize) = (16, 4_096);

struct List<K, R> {
    rows: VecDeque<(K, R)>,
    /// How far it was looked at.
    reached: Option<K>,
    is_begun: bool,
    is_done: bool,
    chunk: usize,
}

/// Merges `lists` lists. `read` looks at so many rows of one list behind a key; `order` is the order of all of them.
pub(crate) fn merge<K: Clone, R, E>(
    lists: usize,
    bounds: Bounds,
    after: Option<&K>,
    order: impl Fn(&K, &K) -> Ordering,
    mut read: impl FnMut(usize, Option<&K>, usize) -> Result<Chunk<K, R>, E>,
) -> Result<Merged<K, R>, E> {
    let first_chunk = match lists {
        0 | 1 => bounds.limit + 1,
        _ => 2 * bounds.limit / lists,
    }
    .clamp(CHUNK.0, CHUNK.1);
    let mut lists: Vec<List<K, R>> = (0..lists)
        .map(|_| List {
            rows: VecDeque::new(),
            reached: after.cloned(),
            is_begun: false,
            is_done: false,
            chunk: first_chunk,
        })
        .collect();
    let mut examined = 0;
    let mut page: Vec<R> = Vec::new();
    let mut last: Option<K> = None;
    loop {
        for (index, list) in lists.iter_mut().enumerate() {
            while list.rows.is_empty()
                && !list.is_done
                && (!list.is_begun || examined < bounds.budget)
            {
                let chunk = read(index, list.reached.as_ref(), list.chunk)?;
                list.is_begun = true;
                list.is_done = chunk.examined < list.chunk;
                list.chunk = (2 * list.chunk).min(CHUNK.1);
                list.rows = chunk.rows;
                if chunk.last.is_some() {
                    list.reached = chunk.last;
                }
                examined += chunk.examined;
            }
        }
        // Behind the first place where a list was left unfinished, rows of others may not be shown yet.
        let frontier = lists
            .iter()
            .filter(|list| list.rows.is_empty() && !list.is_done)
            .filter_map(|list| list.reached.as_ref())
            .min_by(|one, other| order(one, other))
            .cloned();
        let heads = lists.iter_mut().filter(|list| !list.rows.is_empty());
        let first = heads.min_by(|one, other| match (one.rows.front(), other.rows.front()) {
            (Some((one, _)), Some((other, _))) => order(one, other),
            _ => Ordering::Equal,
        });
        let Some(list) = first else {
            return Ok(Merged {
                rows: page,
                next: frontier,
            });
        };
        let is_behind = |key: &K| {
            let frontier = frontier.as_ref();
            frontier.is_some_and(|frontier| order(key, frontier) == Ordering::Greater)
        };
        match list.rows.pop_front() {
            Some((key, _)) if is_behind(&key) => {
                return Ok(Merged {
                    rows: page,
                    next: frontier,
                });
            }
            Some(_) if page.len() >= bounds.limit => {
                return Ok(Merged {
                    rows: page,
                    next: last,
                });
            }
            Some((key, row)) => {
                page.push(row);
                last = Some(key);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads pages until the end; what came, and the most rows that one page looked at.
    fn pages(lists: &[Vec<u32>], keep: impl Fn(u32) -> bool, bounds: Bounds) -> (Vec<u32>, usize) {
        let (mut all, mut after, mut most) = (Vec::new(), None, 0);
        for _ in 0..10_000 {
            let mut looked_at = 0;
            let merged = merge(
                lists.len(),
                bounds,
                after.as_ref(),
                u32::cmp,
                |index, after, count| -> Result<_, ()> {
                    let rest = lists[index].iter().copied();
                    let looked: Vec<u32> = rest
                        .filter(|key| after.is_none_or(|after| key > after))
                        .take(count)
                        .collect();
                    looked_at += looked.len();
                    Ok(Chunk {
                        examined: looked.len(),
                        last: looked.last().copied(),
                        rows: looked
                            .into_iter()
                            .filter(|key| keep(*key))
                            .map(|key| (key, key))
                            .collect(),
                    })
                },
            )
            .unwrap();
            assert!(merged.rows.len() <= bounds.limit);
            assert!(merged.next > after || merged.next.is_none(), "no progress");
            all.extend(merged.rows);
            most = most.max(looked_at);
            after = merged.next;
            if after.is_none() {
                return (all, most);
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn merges_lists_in_order_and_leaves_nothing_out() {
        let lists: Vec<Vec<u32>> = (0..7)
            .map(|list| (0..2_000).filter(|key| key % 7 == list).collect())
            .collect();
        for limit in [1, 3, 50, 500] {
            let bounds = Bounds {
                limit,
                budget: 100_000,
            };
            let (all, _) = pages(&lists, |_| true, bounds);
            assert_eq!(all, (0..2_000).collect::<Vec<_>>(), "{limit}");
        }
    }

    #[test]
    fn looks_at_a_bounded_number_of_rows_and_goes_on_from_there() {
        // One list has all that matches, far behind what the others hold.
        let lists: Vec<Vec<u32>> = vec![
            (0..30_000).collect(),
            (30_000..60_000).collect(),
            vec![59_999],
        ];
        let bounds = Bounds {
            limit: 50,
            budget: 5_000,
        };
        let (all, most) = pages(&lists[..2], |key| key % 1_000 == 999, bounds);
        assert_eq!(all, (0..60).map(|n| n * 1_000 + 999).collect::<Vec<_>>());
        assert!(most <= 5_000 + 2 * CHUNK.1, "{most}");
        let (none, _) = pages(&lists, |_| false, bounds);
        assert!(none.is_empty());
        assert!(pages(&[], |_| true, bounds).0.is_empty());
    }
}
