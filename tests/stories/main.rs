//! The contract, told from outside as stories: each runs against a gateway process of its own, on SQLite and on
//! PostgreSQL.

#![allow(clippy::disallowed_methods)] // stories run on real time

mod accounts;
mod acquirers;
mod bins;
mod books;
mod browser;
mod charge;
mod clock;
mod crash;
mod examples;
mod faults;
mod follow;
mod host;
mod hosted;
mod hosted_accounts;
mod hosted_wallets;
mod limits;
mod line;
mod line_down;
mod line_others;
mod line_tls;
mod lost;
#[path = "../wallets/maker/mod.rs"]
mod maker;
mod operator;
mod receiver;
mod receivers;
mod refusals;
mod renewals;
mod renewals_changed;
mod renewals_raced;
mod renewals_told;
mod retries;
mod risk;
mod routes;
mod rules;
mod schema;
mod secrets;
mod subscriptions;
mod subscriptions_by_hand;
mod threeds;
mod tokens;
mod wallet_tokens;
mod wallets;
mod webhooks;
mod worker;
mod world;

use libtest_mimic::{Arguments, Trial};
use std::future::Future;
use std::pin::Pin;
use world::Engine;

type Story = fn(Engine) -> Pin<Box<dyn Future<Output = ()>>>;

/// `stories![charge::a, faults::b]`: each with its name.
macro_rules! stories {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$((concat!(stringify!($module), "::", stringify!($name)), (|engine| Box::pin($module::$name(engine))) as Story)),*]
    };
}

fn all() -> Vec<(&'static str, Story)> {
    stories![
        charge::the_seed_page,
        charge::a_card_is_stored_and_charged,
        charge::authorization_and_v2_answer_like_v1,
        charge::the_sandbox_cards,
        charge::status_by_id_and_reference,
        charge::merchant_initiated,
        refusals::keys_in_all_their_forms,
        refusals::all_wrong_fields_at_once,
        refusals::a_card_fault_alone,
        refusals::broken_bodies,
        refusals::answers_for_every_status,
        refusals::the_other_entity,
        refusals::any_body_is_answered,
        tokens::managed,
        tokens::a_list_in_pages,
        faults::killed_after_the_answer,
        faults::one_key_two_hundred_clients,
        faults::two_processes_one_key,
        faults::a_timeout_is_settled,
        faults::killed_in_the_middle,
        faults::a_stop_finishes_what_is_in_flight,
        faults::clients_that_hang_up,
        faults::keys_are_scoped,
        faults::start_refusals,
        follow::captured_and_refunded,
        follow::voids_and_balances,
        follow::a_holds_token_stays,
        follow::refusals_of_what_follows,
        follow::a_refused_refund_is_recorded,
        follow::racing_refunds,
        follow::racing_capture_and_void,
        lost::a_refund_without_an_answer,
        lost::sandbox_faults,
        follow::a_hold_lapses,
        books::spoiled_books_are_found,
        books::an_older_database_is_found,
        books::an_acquirers_file,
        books::unresolved_money_is_listed,
        books::a_transaction_is_explained,
        crash::killed_many_times,
        operator::a_newer_schema_is_refused,
        operator::an_older_schema_goes_on,
        operator::old_cards_are_erased,
        operator::live_keys,
        operator::keys_come_and_go,
        operator::logs_for_machines,
        bins::imported_and_looked_up,
        bins::a_million_ranges,
        bins::bad_files,
        bins::imports_that_race,
        limits::a_key_that_calls_too_often,
        limits::who_called,
        examples::are_true,
        examples::of_questions_are_true,
        examples::of_what_follows_are_true,
        schema::every_answer_is_as_documented,
        secrets::canary,
        webhooks::told_and_signed,
        webhooks::every_result_is_told,
        webhooks::killed_before_it_is_told,
        webhooks::tried_again,
        webhooks::secrets_change,
        webhooks::in_order,
        webhooks::the_feed,
        receivers::ten_thousand_payments,
        receivers::two_processes_tell_once,
        receivers::addresses_that_are_not_public,
        receivers::over_tls,
    ]
}

fn of_lines() -> Vec<(&'static str, Story)> {
    stories![
        line::paid_through_a_host,
        line::paid_in_another_dialect,
        line::stored_and_explained,
        host::measured,
        line::the_host_hears_who_asked,
        line::without_an_answer,
        line::cards_only,
        line_down::host_down_and_back,
        line_down::a_full_window,
        line_down::the_second_acquirer,
        line_down::no_second_acquirer_after_silence,
        line_down::along_an_ended_route,
        line_down::a_host_that_hangs,
        line_down::routes_that_lead_nowhere,
        line_down::by_currency_and_mode,
        line_down::both_killed_many_times,
        line_tls::encrypted_and_trusted,
        line_others::all_that_can_be_asked,
        line_others::its_delays_drops_and_closes,
        line_others::reversed_until_it_is_heard,
        line_others::its_host_is_gone,
        acquirers::listed,
        acquirers::checked,
        acquirers::checked_as_asked,
        acquirers::a_live_one,
        acquirers::broken_off,
        acquirers::told_what_may_not_be_shown,
    ]
}

fn of_later() -> Vec<(&'static str, Story)> {
    stories![
        operator::nobody_reads_on,
        worker::many_jobs_due_at_once,
        retries::a_merchants_days,
        routes::made_listed_and_ended,
        routes::that_cannot_be,
        routes::of_a_mode,
        routes::looked_up_in_the_acquirers_file,
        routes::made_by_many_at_once,
        subscriptions_by_hand::are_listed_and_shown,
        subscriptions_by_hand::that_cannot_be_shown,
        subscriptions_by_hand::are_cancelled,
        subscriptions_by_hand::cancelled_by_many_at_once,
        subscriptions_by_hand::that_was_declined,
        renewals::the_samples_figures,
        renewals::calendars_and_clocks,
        renewals::declined_and_tried_again,
        renewals_changed::another_card,
        renewals_changed::changed_in_flight,
        renewals_changed::paused_and_resumed,
        renewals::refused_by_a_rule,
        renewals_changed::ends,
        renewals_raced::missed,
        renewals_raced::two_processes,
        renewals_raced::changed_at_once,
        renewals_raced::changed_before_the_charge,
        renewals_raced::changed_before_its_end,
        renewals_raced::killed_in_mid_advance,
        renewals_raced::a_year,
        renewals_told::told_and_signed,
        renewals_told::declines_are_told,
        renewals_told::a_long_life,
        renewals_told::a_card_made_anew,
        renewals_told::not_anothers,
    ]
}

fn of_risk() -> Vec<(&'static str, Story)> {
    stories![
        examples::of_rules_are_true,
        risk::each_code_is_recorded,
        risk::stored_cards_are_judged,
        risk::velocity_is_exact,
        risk::shadows_and_scores,
        risk::private_addresses_do_not_count,
        risk::rules_are_their_entitys,
        risk::a_refusal_is_the_keys_answer,
        risk::refund_volumes,
        rules::mistakes_are_named,
        rules::changes_are_audited,
        rules::card_testing_is_slowed_down,
        rules::at_the_command_line,
    ]
}

fn of_cardholders() -> Vec<(&'static str, Story)> {
    stories![
        threeds::a_challenge_passes,
        threeds::ends_of_a_challenge,
        threeds::without_a_challenge,
        threeds::a_merchants_policy,
        threeds::nobody_comes_back,
        threeds::everybody_comes_back_at_once,
        threeds::killed_on_the_way,
        threeds::stored_cards,
        threeds::strange_visitors,
        threeds::what_the_issuer_refuses_counts,
        threeds::in_the_cardholders_language,
        examples::of_cardholders_are_true,
        accounts::approved_in_the_wallet,
        accounts::not_approved,
        accounts::a_stored_account,
        accounts::where_no_wallet_can_be,
        wallets::google_pay,
        wallets::google_pay_in_all_forms,
        wallets::followed,
        wallets::listed_and_removed,
        wallets::apple_pay,
        wallets::other_money,
        wallets::each_reason_is_in_the_log,
        wallet_tokens::a_token_is_charged_once,
        wallet_tokens::stored_from_a_wallet,
        wallet_tokens::authentication,
        wallet_tokens::set_ups_are_their_merchants,
        wallet_tokens::tests_keys_are_not_for_live_money,
        wallet_tokens::mistakes_are_named,
    ]
}

fn of_pages() -> Vec<(&'static str, Story)> {
    stories![
        examples::of_links_are_true,
        hosted::links_are_made,
        hosted::pages_in_both_languages,
        hosted::paid_without_scripts,
        hosted::what_the_link_lacks_is_asked,
        hosted::mistakes_are_told,
        hosted::a_card_in_the_wrong_field,
        hosted::declined_three_times,
        hosted::a_thousand_visitors_pay_once,
        hosted::cancelled_and_expired,
        hosted::forms_of_others,
        hosted::forms_of_others_elsewhere,
        hosted::pages_that_are_asked_too_often,
        hosted::without_an_answer,
        hosted::killed_in_the_middle,
        hosted::a_merchants_look,
        hosted::through_the_bank,
        hosted_accounts::paid_in_the_wallet,
        hosted_accounts::in_japanese,
        hosted_accounts::not_paid_in_the_wallet,
        hosted_accounts::in_many_tabs,
        hosted_wallets::without_a_set_up,
        hosted_wallets::the_google_pay_button,
        hosted_wallets::in_a_gateways_name,
        hosted_wallets::paid_by_google_pay,
        hosted_wallets::what_is_typed_beside_a_wallet,
        hosted_wallets::apple_pay,
        hosted_wallets::identities_at_the_command_line,
    ]
}

fn of_subscriptions() -> Vec<(&'static str, Story)> {
    stories![
        subscriptions::shapes,
        subscriptions::changes,
        subscriptions::keys_of_changes,
        subscriptions::mistakes,
        subscriptions::no_plan_and_no_page,
        subscriptions::nothing_begins,
        subscriptions::first_cycles,
        subscriptions::a_card_of_its_own,
        subscriptions::a_token_in_use,
        subscriptions::a_delete_races,
        subscriptions::authenticated,
        subscriptions::two_merchants,
        subscriptions::listed,
    ]
}

fn of_clocks() -> Vec<(&'static str, Story)> {
    stories![
        examples::of_clocks_are_true,
        clock::a_hold_lapses,
        clock::the_answer,
        clock::mistakes_are_named,
        clock::links_and_cardholders,
        clock::cards_expire_and_are_erased,
        clock::a_year_at_once,
        clock::a_year_of_renewals,
        clock::begun_during_a_leap,
        clock::others_are_swept,
        clock::two_at_once,
        clock::two_processes,
        clock::killed_in_mid_advance,
    ]
}

fn main() {
    let stories =
        [all(), of_lines(), of_later(), of_risk(), of_cardholders(), of_pages(), of_clocks(), of_subscriptions()]
            .concat();
    let postgres = world::postgres().is_some();
    if !postgres {
        eprintln!(
            "FUDA_TEST_POSTGRES is not set: the PostgreSQL stories are ignored (./test starts a cluster for them)"
        );
    }
    let schemathesis = schema::schemathesis().is_some();
    if !schemathesis {
        eprintln!("FUDA_TEST_SCHEMATHESIS is not set: the schema stories are ignored (./test installs schemathesis)");
    }
    let iso8583sim = line_others::iso8583sim().is_some();
    if !iso8583sim {
        eprintln!(
            "FUDA_TEST_ISO8583SIM is not set: the stories of another host are ignored (./test installs iso8583sim)"
        );
    }
    let missing = move |name: &str| {
        name.starts_with("schema::") && !schemathesis || name.starts_with("line_others::") && !iso8583sim
    };
    let trials = stories.into_iter().flat_map(|(name, story)| {
        [(Engine::Sqlite, "sqlite", false), (Engine::Postgres, "postgres", !postgres)].map(
            |(engine, label, ignored)| {
                Trial::test(format!("{label}::{name}"), move || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
                    runtime.block_on(story(engine));
                    Ok(())
                })
                .with_ignored_flag(ignored || missing(name))
            },
        )
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
