//! Panics that are expected: what a core says when it panics becomes a broken promise, and need not be printed as well.
//!
//! Seeds run on several threads and the hook is the process's, so it is set once and asks its own thread whether to be quiet.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose panics are caught and told elsewhere.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            if !QUIET.get() {
                loud(told);
            }
        }));
    });
    let before = QUIET.replace(true);
    let done = run();
    QUIET.set(before);
    done
}
