//! Units of work, counted where tests can see them: what a packet costs is bounded by its length, whatever is in it, and a
//! count shows that where a clock does not.
//!
//! A unit is a label that is passed over, a record or an option that is read, a name that is written or forgotten. Nothing
//! is counted but in tests and with the feature `testing`.

#[cfg(any(test, feature = "testing"))]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn done(units: usize) {
        DONE.set(DONE.get() + units);
    }

    /// The units since this was last called in this thread.
    pub fn take() -> usize {
        DONE.take()
    }
}

#[cfg(any(test, feature = "testing"))]
pub(crate) use counted::done;
#[cfg(any(test, feature = "testing"))]
pub use counted::take;

#[cfg(not(any(test, feature = "testing")))]
pub(crate) fn done(_: usize) {}
