//! What a cardholder sees, in a real browser: Chromium without a screen, driven through chromedriver, on a gateway
//! process of its own for each story. Pictures land in `target/screenshots/`.

#![allow(clippy::disallowed_methods)] // stories run on real time

mod authentication;
mod chromium;
mod google;
mod harness;
mod looks;
#[path = "../wallets/maker/mod.rs"]
mod maker;
mod paying;
mod scene;
mod shop;
mod sight;
mod wallets;
#[allow(dead_code)] // the other stories use the rest
#[path = "../stories/world.rs"]
mod world;

use libtest_mimic::{Arguments, Trial};
use std::future::Future;
use std::pin::Pin;
use world::Engine;

type Story = fn(Engine) -> Pin<Box<dyn Future<Output = ()>>>;

/// `stories![card::a, card::b]`: each with its name.
macro_rules! stories {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$((concat!(stringify!($module), "::", stringify!($name)), (|engine| Box::pin($module::$name(engine))) as Story)),*]
    };
}

fn on_both_engines() -> Vec<(&'static str, Story)> {
    stories![
        harness::the_shop_is_asked_first,
        authentication::from_server_to_server,
        paying::declined_and_then_paid,
        paying::two_tabs_at_once,
        paying::authenticated,
    ]
}

/// What looks the same whatever the store is.
fn on_one_engine() -> Vec<(&'static str, Story)> {
    stories![
        harness::faults_of_a_page_are_found,
        harness::what_a_page_asks_for_is_seen,
        harness::without_scripts,
        authentication::by_buttons_alone,
        paying::in_japanese_and_english,
        paying::the_language_is_changed,
        paying::the_customer_types_more,
        authentication::back_and_forth,
        paying::the_last_try,
        paying::pressed_twice,
        paying::the_bank_is_silent,
        paying::cancelled,
        paying::expired,
        looks::without_scripts,
        looks::by_keyboard_alone,
        looks::back_after_success,
        looks::every_state_in_english,
        looks::every_state_in_japanese,
        looks::while_it_is_processed,
        looks::framed_where_it_may_be,
        looks::pictures,
        looks::nothing_is_left_behind,
        looks::typed_and_not_sent,
        wallets::in_their_own_pages,
        wallets::given_up,
        wallets::on_the_payment_page,
        wallets::google_pay,
        wallets::google_pay_after_mistakes,
        wallets::apple_pay,
    ]
}

fn main() {
    let postgres = world::postgres().is_some();
    let browser = chromium::driver().is_some() && sight::modules().is_some();
    if !browser {
        eprintln!(
            "FUDA_TEST_CHROMEDRIVER or FUDA_TEST_NODE_MODULES is not set: the browser stories are ignored (./test \
             installs chromium and axe-core)"
        );
    } else if !postgres {
        eprintln!("FUDA_TEST_POSTGRES is not set: the browser stories on PostgreSQL are ignored");
    }
    let both = on_both_engines().into_iter().flat_map(|story| [(Engine::Sqlite, story), (Engine::Postgres, story)]);
    let one = on_one_engine().into_iter().map(|story| (Engine::Sqlite, story));
    let trials = both.chain(one).map(|(engine, (name, story))| {
        let (label, missing) = match engine {
            Engine::Sqlite => ("sqlite", false),
            Engine::Postgres => ("postgres", !postgres),
        };
        Trial::test(format!("{label}::{name}"), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(story(engine));
            Ok(())
        })
        .with_ignored_flag(missing || !browser)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
