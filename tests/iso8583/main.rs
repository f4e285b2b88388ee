//! The codec from outside: round trips over dialects at random, broken bytes, and the same messages in the hands of others
//! (`pyiso8583` and `iso8583sim`, which `./test` installs; processes of their own).

mod compare;
mod fuzz;
mod random;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let python = std::env::var("FUDA_TEST_PYTHON").ok().filter(|path| !path.is_empty());
    if python.is_none() {
        eprintln!(
            "FUDA_TEST_PYTHON is not set: the comparisons are ignored (./test installs pyiso8583 and iso8583sim)"
        );
    }
    let mut trials = vec![
        Trial::test("random_messages_come_back", || {
            fuzz::random_messages_come_back();
            Ok(())
        }),
        Trial::test("broken_bytes_are_told", || {
            fuzz::broken_bytes_are_told();
            Ok(())
        }),
    ];
    for (name, comparison) in compare::ALL {
        let ignored = python.is_none();
        let python = python.clone().unwrap_or_default();
        let trial = Trial::test(name, move || {
            comparison(&mut compare::Other::start(&python));
            Ok(())
        });
        trials.push(trial.with_ignored_flag(ignored));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
