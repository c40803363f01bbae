//! Who is next: an in-process queue of jobs with priorities, keys, caps and cancellation.
//!
//! Jobs have a class, a key and a cost. The queue starts the best-ranked job whose key is below its cap,
//! shares a class fairly between keys, lets nobody wait for ever, and ends each job exactly once.
//!
//! # The guarantee
//!
//! `submitted = queued + running + ended` in every snapshot; `running ≤ cap`, in total and per key; and
//! whenever a slot is free and a job is eligible, it starts.
//!
//! # When to use it, and when not
//!
//! Use it for work inside one process that needs an order and limits. It is no channel (values do not
//! come out at the other end: jobs run), and no broker: other processes do not see it.

#![forbid(unsafe_code)]
