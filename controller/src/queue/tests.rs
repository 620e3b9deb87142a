//! The queue, in paused time.

use std::time::Duration;

use super::*;

type Names = Queue<&'static str>;

fn queue() -> Arc<Names> {
    Arc::new(Queue::default())
}

fn push(queue: &Arc<Names>, key: &'static str, class: Class) {
    queue.push([(key, class, Instant::now())]);
}

/// Takes a key; there must be one sooner or later.
async fn next(queue: &Arc<Names>) -> Lease<&'static str> {
    tokio::time::timeout(Duration::from_secs(3600), queue.take()).await.expect("nothing comes")
}

async fn take(queue: &Arc<Names>) -> &'static str {
    let lease = next(queue).await;
    let key = lease.key;
    lease.done(Rest::default());
    key
}

/// Whether nothing can be taken now.
async fn is_quiet(queue: &Arc<Names>) -> bool {
    tokio::time::timeout(Duration::ZERO, queue.take()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn the_urgent_first_and_in_their_order() {
    let queue = queue();
    for (key, class) in
        [("a", Class::Startup), ("b", Class::Addition), ("c", Class::Removal), ("d", Class::Addition)]
    {
        push(&queue, key, class);
    }
    push(&queue, "a", Class::Edit);
    let order = [take(&queue).await, take(&queue).await, take(&queue).await, take(&queue).await];
    assert_eq!(order, ["c", "b", "d", "a"]);
    assert!(queue.is_idle() && is_quiet(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_running_key_is_not_taken_but_runs_again() {
    let queue = queue();
    push(&queue, "a", Class::Edit);
    let lease = next(&queue).await;
    push(&queue, "a", Class::Edit);
    push(&queue, "a", Class::Removal);
    assert!(is_quiet(&queue).await);
    assert!(!queue.is_idle());
    lease.done(Rest::default());
    let again = next(&queue).await;
    assert_eq!((again.key, again.class), ("a", Class::Removal));
    again.done(Rest::default());
    assert!(queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_and_are_not_forgotten() {
    let queue = queue();
    push(&queue, "a", Class::Edit);
    let mut waits = Vec::new();
    for failures in 0..20 {
        let before = Instant::now();
        let lease = next(&queue).await;
        waits.push(before.elapsed());
        assert_eq!(lease.failures, failures);
        lease.retry(None);
    }
    assert!(waits[1] < Duration::from_millis(7), "{waits:?}");
    // Jitter is at most a half, so twice as long a wait is longer until the longest is reached.
    assert!(waits[..13].windows(2).all(|w| w[1] + Duration::from_millis(2) >= w[0]), "{waits:?}");
    assert!(waits[10] > Duration::from_secs(1), "{waits:?}");
    assert!(
        waits[19] >= LONGEST_WAIT / 2 && waits[19] <= LONGEST_WAIT + Duration::from_millis(2),
        "{waits:?}"
    );
    assert!(!queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_a_wait_but_not_a_pause() {
    let queue = queue();
    push(&queue, "a", Class::Edit);
    for _ in 0..12 {
        next(&queue).await.retry(None);
    }
    push(&queue, "a", Class::Addition);
    let lease = tokio::time::timeout(Duration::ZERO, queue.take()).await.unwrap();
    assert_eq!(lease.failures, 12);
    lease.retry(Some(Duration::from_secs(3)));
    push(&queue, "a", Class::Removal);
    let before = Instant::now();
    let lease = next(&queue).await;
    assert!(before.elapsed() >= Duration::from_secs(3));
    assert_eq!(lease.class, Class::Removal);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_is_given_back() {
    let queue = queue();
    push(&queue, "a", Class::Removal);
    drop(next(&queue).await);
    let lease = next(&queue).await;
    assert_eq!((lease.key, lease.class, lease.failures), ("a", Class::Removal, 1));
}

#[tokio::test(start_paused = true)]
async fn changes_during_a_rest_are_done_together_after_it() {
    let queue = queue();
    push(&queue, "a", Class::Addition);
    let rest = Rest { quiet: Duration::from_millis(100), ..Rest::default() };
    next(&queue).await.done(rest);
    assert!(queue.is_idle(), "a rest is no work");
    let before = Instant::now();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_millis(20)).await;
        push(&queue, "a", Class::Addition);
    }
    assert_eq!(queue.len(), 1);
    next(&queue).await.done(Rest::default());
    assert_eq!(before.elapsed().as_millis() / 10, 10);
    assert!(is_quiet(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_look_comes_by_itself_and_a_change_comes_first() {
    let queue = queue();
    let look = Rest { look_again: Some(Duration::from_secs(5)), ..Rest::default() };
    push(&queue, "a", Class::Addition);
    next(&queue).await.done(look);
    assert!(queue.is_idle() && is_quiet(&queue).await);
    push(&queue, "a", Class::Edit);
    tokio::time::timeout(Duration::ZERO, queue.take()).await.unwrap().done(look);
    let before = Instant::now();
    let lease = next(&queue).await;
    assert!(before.elapsed() >= Duration::from_secs(5));
    assert_eq!(lease.class, Class::Startup);
    lease.done(Rest::default());
    assert!(queue.state.lock().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_is_work_that_rides_along() {
    let queue = queue();
    let rest = Rest {
        quiet: Duration::from_millis(50),
        work_after: Some(Duration::from_millis(300)),
        look_again: Some(Duration::from_secs(5)),
    };
    let before = Instant::now();
    push(&queue, "a", Class::Removal);
    next(&queue).await.done(rest);
    assert!(!queue.is_idle());
    let lease = next(&queue).await;
    assert_eq!((before.elapsed().as_millis() / 10, lease.class), (30, Class::Edit));
    lease.done(rest);
    tokio::time::advance(Duration::from_millis(10)).await;
    push(&queue, "a", Class::Addition);
    let pushed = Instant::now();
    let lease = next(&queue).await;
    assert_eq!(lease.since, pushed);
    assert_eq!(
        (before.elapsed().as_millis() / 10, lease.class),
        (35, Class::Addition),
        "not into the quiet time"
    );
    lease.done(Rest::default());
    assert!(queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_yet_to_be_done_waits_unless_something_urgent_comes() {
    let queue = queue();
    let before = Instant::now();
    push(&queue, "a", Class::Addition);
    next(&queue).await.wait(Duration::from_millis(50));
    assert_eq!(queue.len(), 1);
    let lease = next(&queue).await;
    assert_eq!((lease.failures, lease.since == before, before.elapsed().as_millis() / 10), (0, true, 5));
    lease.wait(Duration::from_millis(50));
    push(&queue, "a", Class::Removal);
    let lease = next(&queue).await;
    assert_eq!((lease.class, before.elapsed().as_millis() / 10), (Class::Removal, 5));
    lease.done(Rest::default());
    assert!(queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn nobody_starves() {
    let queue = queue();
    push(&queue, "old", Class::Startup);
    for _ in 0..TURN_OF_THE_OLDEST {
        push(&queue, "new", Class::Removal);
        if take(&queue).await == "old" {
            return;
        }
    }
    panic!("the old key was never taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_never_share_a_key_and_finish_everything() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let queue: Arc<Queue<usize>> = Arc::new(Queue::default());
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..10).map(|_| AtomicUsize::new(0)).collect());
    let worker = |_| {
        let (queue, busy) = (Arc::clone(&queue), Arc::clone(&busy));
        tokio::spawn(async move {
            loop {
                let lease = queue.take().await;
                assert_eq!(busy[lease.key].fetch_add(1, SeqCst), 0, "two workers on one key");
                tokio::task::yield_now().await;
                busy[lease.key].fetch_sub(1, SeqCst);
                if fastrand::u8(..) < 20 { lease.retry(None) } else { lease.done(Rest::default()) }
            }
        })
    };
    let workers: Vec<_> = (0..8).map(worker).collect();
    for number in 0..2000 {
        queue.push([(number % 10, Class::Edit, Instant::now())]);
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while !queue.is_idle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    workers.iter().for_each(|worker| assert!(!worker.is_finished()));
    assert_eq!(busy.iter().map(|count| count.load(SeqCst)).sum::<usize>(), 0);
}
