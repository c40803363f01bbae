//! Buffers: M10, one thread at a time, and that no stale byte shows.

use std::io::{self, Read};
use std::sync::Arc;
use std::task::Poll;

use bytes::{BufMut, Bytes};
use memory::{Budget, Buffer, BufferPool, Reclaim};
use proptest::prelude::*;

use crate::support::{cases, poll_once};

const PAGE: usize = 4096;

#[test]
fn the_last_clone_returns_buffer_and_budget() {
    let budget = Budget::new(2 * PAGE as u64);
    let pool = BufferPool::new(&budget, PAGE, 0);
    let mut buffer = pool.try_get().unwrap();
    buffer.extend(b"0123456789");
    let bytes = buffer.freeze();
    let slices = [bytes.slice(..3), bytes.slice(7..), bytes.clone()];
    drop(bytes);
    assert_eq!(PAGE as u64, budget.available_bytes());
    drop(slices);
    assert_eq!(2 * PAGE as u64, budget.available_bytes());
}

/// Keeps what it is given to write to.
struct Nosy(Vec<u8>);

impl Read for Nosy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.extend(into.iter());
        Ok(0)
    }
}

#[test]
fn a_buffer_is_used_again_and_shows_nothing_of_before() {
    let pool = BufferPool::new(&Budget::new(PAGE as u64), PAGE, 1);
    let mut first = pool.try_get().unwrap();
    first.extend(&[0xAA; PAGE]);
    let start = first.as_ptr();
    drop(first.freeze());
    assert_eq!(1, pool.idle());

    let mut second = pool.try_get().unwrap();
    assert!(second.is_empty());
    second.extend(b"x");
    assert_eq!((start, &b"x"[..]), (second.as_ptr(), &second[..]));
    let mut nosy = Nosy(Vec::new());
    second.fill_from(&mut nosy).unwrap();
    assert_eq!(vec![0; PAGE - 1], nosy.0);
    assert_eq!(&b"x"[..], &second.freeze()[..]);
}

#[test]
fn buffers_are_aligned_to_pages() {
    let pool = BufferPool::new(&Budget::new(1 << 20), 5000, 4);
    assert_eq!(2 * PAGE, pool.buffer_bytes());
    for _ in 0..4 {
        let mut buffer = pool.try_get().unwrap();
        assert_eq!(0, buffer.chunk_mut().as_mut_ptr().addr() % PAGE);
    }
}

#[test]
fn idle_buffers_are_in_nobodys_way() {
    let budget = Budget::new(4 * PAGE as u64);
    let pool = BufferPool::new(&budget, PAGE, 4);
    let buffers: Vec<_> = (0..4).map(|_| pool.try_get().unwrap()).collect();
    drop(buffers);
    assert_eq!((4, 0), (pool.idle(), budget.available_bytes()));

    let other = budget.named("other").try_reserve(2 * PAGE as u64).unwrap();
    assert_eq!(2, pool.idle(), "as many were freed as were wanted");
    let kept = pool.try_get().unwrap();
    let mut all = budget.reserve(PAGE as u64);
    let Poll::Ready(Ok(all)) = poll_once(&mut all) else {
        panic!("idle buffers keep others waiting")
    };
    assert_eq!(0, pool.idle());
    drop((kept, other, all));
}

/// Idle buffers hold more than the limit that is left; nothing else would ever give them back.
#[test]
fn after_a_cut_idle_buffers_are_in_nobodys_way_either() {
    let budget = Budget::new(8 * PAGE as u64);
    let pool = BufferPool::new(&budget, PAGE, 8);
    let mut buffers: Vec<_> = (0..8).map(|_| pool.try_get().unwrap()).collect();
    buffers.truncate(6);
    budget.set_limit(2 * PAGE as u64);
    assert_eq!((0, 6), (pool.idle(), budget.reserved_bytes() / PAGE as u64), "two went at once");

    buffers.truncate(3);
    assert_eq!(0, pool.idle(), "above the limit none is kept");
    assert!(pool.try_get().is_err());
    buffers.truncate(1);
    assert_eq!((1, 2), (pool.idle(), budget.reserved_bytes() / PAGE as u64));
    let mut other = budget.reserve(PAGE as u64);
    assert!(poll_once(&mut other).is_ready(), "idle buffers keep others waiting");
}

#[test]
fn a_returned_buffer_goes_to_who_waits() {
    let budget = Budget::new(PAGE as u64);
    let pool = BufferPool::new(&budget, PAGE, 1);
    let buffer = pool.try_get().unwrap();
    let waiter = std::thread::spawn({
        let budget = budget.clone();
        move || budget.reserve_blocking(PAGE as u64).map(|it| it.bytes())
    });
    while !budget.is_contended() {
        std::thread::yield_now();
    }
    assert!(pool.try_get().is_err(), "nobody overtakes the line");
    drop(buffer);
    assert_eq!(Ok(PAGE as u64), waiter.join().unwrap());
}

#[test]
fn pressure_trims_the_pool() {
    let pool = BufferPool::new(&Budget::new(1 << 20), PAGE, 8);
    let buffers: Vec<_> = (0..8).map(|_| pool.try_get().unwrap()).collect();
    drop(buffers);
    assert_eq!(2 * PAGE as u64, pool.trim(PAGE as u64 + 1));
    assert_eq!(6, pool.idle());
    assert_eq!(6 * PAGE as u64, pool.as_cache().reclaim(u64::MAX));
}

#[test]
fn a_buffer_takes_what_fits() {
    let pool = BufferPool::new(&Budget::new(PAGE as u64), PAGE, 1);
    let mut buffer = pool.try_get().unwrap();
    assert_eq!(PAGE, buffer.extend(&[1; PAGE + 1]));
    assert_eq!((0, 0), (buffer.spare_bytes(), buffer.extend(b"more")));
    buffer.clear();
    buffer.put_slice(b"through BufMut");
    assert_eq!(b"through BufMut", &buffer[..]);
    drop(buffer);
    assert!(pool.try_get().unwrap().freeze().is_empty());
    assert_eq!(1, pool.idle(), "an empty buffer is back at once");
}

#[test]
fn a_lying_reader_fills_no_more_than_there_is() {
    struct Liar;
    impl Read for Liar {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(usize::MAX)
        }
    }
    let pool = BufferPool::new(&Budget::new(PAGE as u64), PAGE, 1);
    let mut buffer = pool.try_get().unwrap();
    assert_eq!(PAGE, buffer.fill_from(&mut Liar).unwrap());
}

#[test]
fn files_are_read_in_place_and_interruptions_survived() {
    struct Shy(u32);
    impl Read for Shy {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 % 2 == 1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            into[0] = b'a';
            Ok(usize::from(self.0 < 10))
        }
    }
    let pool = BufferPool::new(&Budget::new(PAGE as u64), PAGE, 1);
    let mut buffer = pool.try_get().unwrap();
    assert_eq!(4, buffer.fill_from(&mut Shy(0)).unwrap());
    assert_eq!(b"aaaa", &buffer[..]);

    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&path, [7; 5000]).unwrap();
    buffer.clear();
    assert_eq!(PAGE, buffer.fill_from_file(std::fs::File::open(&path).unwrap()).unwrap());
    assert_eq!([7; PAGE], buffer[..]);
}

#[derive(Clone, Debug)]
enum Step {
    Get,
    Freeze(usize),
    Clone(usize),
    DropBytes(usize),
    Trim(u64),
    Reserve(u64),
    DropReservation(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0_usize..6;
    prop_oneof![
        3 => Just(Step::Get),
        2 => index.clone().prop_map(Step::Freeze),
        1 => index.clone().prop_map(Step::Clone),
        3 => index.clone().prop_map(Step::DropBytes),
        1 => (0_u64..9000).prop_map(Step::Trim),
        1 => (0_u64..9000).prop_map(Step::Reserve),
        1 => index.prop_map(Step::DropReservation),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(128)))]

    /// M10: each buffer in one hand, all of them within the budget, each with its own bytes.
    #[test]
    fn no_buffer_is_in_two_hands(limit in 1_u64..8, steps in prop::collection::vec(step(), 1..60)) {
        let budget = Budget::new(limit * PAGE as u64);
        let pool = BufferPool::new(&budget, PAGE, 3);
        let mut stamp = 0_u64;
        let mut buffers: Vec<(Buffer, u64)> = Vec::new();
        let mut frozen: Vec<(Bytes, u64)> = Vec::new();
        let mut others = Vec::new();
        for step in steps {
            match step {
                Step::Get => if let Ok(mut buffer) = pool.try_get() {
                    stamp += 1;
                    prop_assert!(buffer.is_empty());
                    buffer.extend(&stamp.to_le_bytes());
                    buffers.push((buffer, stamp));
                },
                Step::Freeze(index) if index < buffers.len() => {
                    let (buffer, stamp) = buffers.swap_remove(index);
                    frozen.push((buffer.freeze(), stamp));
                }
                Step::Clone(index) if index < frozen.len() => frozen.push(frozen[index].clone()),
                Step::DropBytes(index) if index < frozen.len() => drop(frozen.swap_remove(index)),
                Step::Trim(bytes) => drop(pool.trim(bytes)),
                Step::Reserve(bytes) => others.extend(budget.try_reserve(bytes)),
                Step::DropReservation(index) if index < others.len() => drop(others.swap_remove(index)),
                _ => {}
            }
            let mut in_hand: Vec<_> = frozen.iter().map(|(bytes, _)| bytes.as_ptr()).collect();
            in_hand.sort();
            in_hand.dedup();
            let buffers_held = buffers.len() + in_hand.len() + pool.idle();
            let other_bytes: u64 = others.iter().map(memory::Reservation::bytes).sum();
            prop_assert_eq!(buffers_held as u64 * PAGE as u64 + other_bytes, budget.stats().reserved_bytes);
            prop_assert!(pool.idle() <= 3);
            for (bytes, stamp) in buffers.iter().map(|(b, s)| (&b[..], s)).chain(frozen.iter().map(|(b, s)| (&b[..], s))) {
                prop_assert_eq!(&stamp.to_le_bytes()[..], bytes);
            }
        }
        drop((buffers, frozen, others));
        pool.trim(u64::MAX);
        prop_assert_eq!(limit * PAGE as u64, budget.available_bytes());
    }
}

#[test]
fn the_pool_can_be_shared() {
    fn check<T: Send + Sync + 'static>() {}
    check::<BufferPool>();
    check::<Arc<Budget>>();
    check::<Buffer>();
}
