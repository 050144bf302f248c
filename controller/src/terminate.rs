//! Terminating many instances in few calls.
//!
//! Spores are ended one by one, each in a pass of its own, while EC2 admits few calls and takes many
//! ids in each. Whoever comes first waits for a moment and makes the call for all that have come
//! meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::channel::oneshot;
use jiff::Timestamp;

use crate::cloud::{Class, CloudError, InstanceState};

/// How long others are waited for. A termination takes seconds anyway.
const GATHER: Duration = Duration::from_millis(20);
/// Most ids in a call: EC2 takes 1,000 and advises smaller batches (TerminateInstances, API Reference).
pub const AT_ONCE: usize = 200;

/// The new states of instances.
pub type States = Vec<(String, InstanceState)>;

/// Why an instance was not terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Our own limiter holds the call back until then.
    Later(Timestamp),
    /// The call failed.
    Failed(CloudError),
}

/// Instances that wait for a call.
#[derive(Debug, Default)]
pub struct Terminations {
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    answer: oneshot::Sender<Result<InstanceState, Refusal>>,
}

impl Terminations {
    /// Terminates an instance in a call that it shares with others of its region; `call` makes one.
    ///
    /// # Errors
    /// As the call says of this instance: an id that EC2 does not know is not another's fault.
    pub async fn one<F, Fut>(
        &self,
        region: &str,
        id: &str,
        call: F,
    ) -> Result<InstanceState, Refusal>
    where
        F: Fn(Vec<String>) -> Fut,
        Fut: Future<Output = Result<States, Refusal>>,
    {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut all = self.lock();
            let queue = all.entry(region.to_owned()).or_default();
            queue.push(Waiting {
                id: id.to_owned(),
                answer,
            });
            queue.len() == 1
        };
        if first {
            tokio::time::sleep(GATHER).await;
            let queue = self.lock().remove(region).unwrap_or_default();
            answer_all(queue, call).await;
        }
        answered.await.unwrap_or_else(|_| {
            Err(Refusal::Failed(CloudError {
                call: "TerminateInstances",
                region: region.to_owned(),
                class: Class::Unclear,
                code: None,
                message: "whoever made the call for this instance was stopped".into(),
            }))
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiting>>> {
        // Whoever panicked held no half-made state: every write is a single push or removal.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer_all<F, Fut>(mut queue: Vec<Waiting>, call: F)
where
    F: Fn(Vec<String>) -> Fut,
    Fut: Future<Output = Result<States, Refusal>>,
{
    while !queue.is_empty() {
        let rest = queue.split_off(queue.len().min(AT_ONCE));
        let some = std::mem::replace(&mut queue, rest);
        let ids = some.iter().map(|waiting| waiting.id.clone()).collect();
        let result = call(ids).await;
        // One id that EC2 does not know fails the whole call.
        let unknown =
            matches!(&result, Err(Refusal::Failed(error)) if error.class == Class::NotFound);
        if some.len() == 1 || !unknown {
            for waiting in some {
                waiting.answer(&result);
            }
            continue;
        }
        for waiting in some {
            let result = call(vec![waiting.id.clone()]).await;
            waiting.answer(&result);
        }
    }
}

impl Waiting {
    fn answer(self, result: &Result<States, Refusal>) {
        let state = |states: &States| {
            let mut states = states.iter();
            let known = states.find(|(id, _)| *id == self.id);
            known.map_or(InstanceState::ShuttingDown, |(_, state)| *state)
        };
        let answer = result.as_ref().map(state).map_err(Clone::clone);
        // Who does not wait any more needs no answer.
        let _ = self.answer.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    /// EC2: ids that begin with `x` are unknown to it.
    #[derive(Default)]
    struct Ec2 {
        calls: Mutex<Vec<usize>>,
    }

    impl Ec2 {
        fn terminate(&self, ids: &[String]) -> Result<States, Refusal> {
            self.calls.lock().unwrap().push(ids.len());
            if ids.iter().any(|id| id.starts_with('x')) {
                return Err(Refusal::Failed(CloudError {
                    call: "TerminateInstances",
                    region: "r".into(),
                    class: Class::NotFound,
                    code: Some("InvalidInstanceID.NotFound".into()),
                    message: "not there".into(),
                }));
            }
            let state = |id: &String| (id.clone(), InstanceState::ShuttingDown);
            Ok(ids.iter().map(state).collect())
        }
    }

    async fn all(ids: Vec<String>) -> (Vec<Result<InstanceState, Refusal>>, Vec<usize>) {
        let (ec2, terminations) = (Ec2::default(), Terminations::default());
        let call = |ids: Vec<String>| std::future::ready(ec2.terminate(&ids));
        let each = ids.iter().map(|id| terminations.one("r", id, call));
        let results = join_all(each).await;
        (results, ec2.calls.into_inner().unwrap())
    }

    #[tokio::test]
    async fn three_hundred_instances_take_two_calls() {
        let (results, calls) = all((0..300).map(|n| format!("i-{n}")).collect()).await;
        assert_eq!(calls, [200, 100]);
        assert!(
            results
                .iter()
                .all(|r| *r == Ok(InstanceState::ShuttingDown))
        );
    }

    #[tokio::test]
    async fn an_unknown_one_keeps_no_other_from_ending() {
        let (results, calls) = all(vec!["i-1".into(), "x-2".into(), "i-3".into()]).await;
        assert_eq!(calls, [3, 1, 1, 1]);
        assert_eq!(results[0], Ok(InstanceState::ShuttingDown));
        assert!(matches!(&results[1], Err(Refusal::Failed(e)) if e.class == Class::NotFound));
        assert_eq!(results[2], Ok(InstanceState::ShuttingDown));
    }

    #[tokio::test]
    async fn what_comes_after_a_call_has_a_call_of_its_own() {
        let (ec2, terminations) = (Ec2::default(), Terminations::default());
        let call = |ids: Vec<String>| std::future::ready(ec2.terminate(&ids));
        for id in ["i-1", "i-2"] {
            assert!(terminations.one("r", id, call).await.is_ok());
        }
        assert_eq!(*ec2.calls.lock().unwrap(), [1, 1]);
    }
}
