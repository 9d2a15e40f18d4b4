//! What is refused of users, separation and the requests on nodes, as text; and what nodes say in excess, which is cut.
//!
//! Each line changes one thing about a message that is right and says what a user then reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use muster_model::limits;
use muster_model::node::MachineFacts;
use muster_model::spec::{PoolSpec, TaskSpec, UserIdentity};
use muster_model::state::{AutoUserScope, DrainOption, ElevationLevel, IsolationLevel, TaskNetwork};
use muster_proto::convert::{
    FieldErrors, Metrics, NodeDisabling, NodeHealth, NodeRemoval, NodeRestart, PoolResize,
};
use muster_proto::wire;
use wire::user_identity::User;

/// A change that makes a right message wrong, and what is then said.
type Case<'s, W> = (fn(&mut W), &'s str);

/// Each change must be refused with exactly this text; the message without it is right.
fn refused_as<W: Clone, M: TryFrom<W, Error = FieldErrors> + std::fmt::Debug>(
    right: &W,
    cases: &[Case<'_, W>],
) {
    assert!(M::try_from(right.clone()).is_ok(), "{:?}", M::try_from(right.clone()));
    for (change, expected) in cases {
        let mut wrong = right.clone();
        change(&mut wrong);
        match M::try_from(wrong) {
            Ok(value) => panic!("not refused as {expected:?}: {value:?}"),
            Err(errors) => assert_eq!(errors.to_string(), *expected),
        }
    }
}

fn span(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn account(name: &str) -> wire::UserAccount {
    wire::UserAccount { name: name.into(), ..Default::default() }
}

fn pool() -> wire::Pool {
    wire::Pool { id: "p".into(), user_accounts: vec![account("ann")], ..Default::default() }
}

#[test]
fn user_accounts_of_a_pool() {
    refused_as::<_, PoolSpec>(
        &pool(),
        &[
            (
                |p| p.user_accounts[0].name = "9to5".into(),
                "pool.user_accounts[0].name: user name \"9to5\" is not valid: use 1 to 20 letters, digits, '-', '_' and \
                 '.', starting with a letter or '_'",
            ),
            (
                |p| p.user_accounts.push(account("ann")),
                "pool.user_accounts[1].name: ann is there twice: leave one of them out",
            ),
            (
                |p| p.user_accounts[0].password = "secret".into(),
                "pool.user_accounts[0].password: is not supported by this version: leave it empty: nobody logs in as a \
                 user of a node",
            ),
            (
                |p| p.user_accounts[0].uid = Some(1000),
                "pool.user_accounts[0].uid: cannot be set alone: set gid too, or leave both unset",
            ),
            (
                |p| p.user_accounts[0].gid = Some(1000),
                "pool.user_accounts[0].gid: cannot be set alone: set uid too, or leave both unset",
            ),
            (
                |p| (p.user_accounts[0].uid, p.user_accounts[0].gid) = (Some(0), Some(1000)),
                "pool.user_accounts[0].uid: 0 is out of range: use 1 to 4294967294",
            ),
            (
                |p| (p.user_accounts[0].uid, p.user_accounts[0].gid) = (Some(1000), Some(u32::MAX)),
                "pool.user_accounts[0].gid: 4294967295 is out of range: use 1 to 4294967294",
            ),
            (
                |p| p.user_accounts[0].elevation_level = 3,
                "pool.user_accounts[0].elevation_level: 3 is not a value of ElevationLevel: use one of \
                 ELEVATION_LEVEL_NON_ADMIN, ELEVATION_LEVEL_ADMIN",
            ),
            (
                |p| p.user_accounts = (0..101).map(|n| account(&format!("u{n}"))).collect(),
                "pool.user_accounts: has 101 entries: at most 100 are allowed",
            ),
        ],
    );
    let hundred = (0..100).map(|n| account(&format!("u{n}"))).collect();
    assert!(PoolSpec::try_from(wire::Pool { user_accounts: hundred, ..pool() }).is_ok());
}

#[test]
fn a_pool_that_says_nothing_of_separation_gets_what_each_node_can_and_its_network() {
    let spec = PoolSpec::try_from(pool()).unwrap();
    assert_eq!((spec.isolation_level, spec.task_network), (None, TaskNetwork::Host));
    let named = wire::Pool { isolation_level: 2, task_network: 2, ..pool() };
    let spec = PoolSpec::try_from(named).unwrap();
    assert_eq!((spec.isolation_level, spec.task_network), (Some(IsolationLevel::Process), TaskNetwork::None));
}

#[test]
fn a_task_runs_as_an_automatic_user_or_a_named_one() {
    let identity = |user: Option<User>| {
        let user_identity = user.map(|user| wire::UserIdentity { user: Some(user) });
        let task =
            wire::Task { id: "t".into(), command_line: "true".into(), user_identity, ..Default::default() };
        TaskSpec::try_from(task).map(|task| task.user_identity)
    };
    let pool_user = UserIdentity::Auto { scope: AutoUserScope::Pool, elevation: ElevationLevel::NonAdmin };
    assert_eq!(identity(None).unwrap(), pool_user);
    assert_eq!(identity(Some(User::AutoUser(wire::AutoUser::default()))).unwrap(), pool_user);
    let named = identity(Some(User::Username("ann".into()))).unwrap();
    assert_eq!(named, UserIdentity::Named("ann".parse().unwrap()));
    for wrong in ["", "a b", "-ann", "ann/../root", &"x".repeat(21)] {
        let errors = identity(Some(User::Username(wrong.into()))).unwrap_err();
        assert_eq!(errors.errors().len(), 1, "{errors}");
        assert_eq!(errors.errors()[0].path, "task.user_identity.username");
    }
}

#[test]
fn the_deadline_of_a_disabled_node() {
    const MONTH: i64 = 30 * 24 * 3600;
    let right = wire::DisableNodeSchedulingRequest {
        pool_id: "p".into(),
        node_id: "n".into(),
        option: wire::DisableSchedulingOption::TaskCompletion.into(),
        deadline: span(MONTH),
        ..Default::default()
    };
    let alone = "deadline: cannot be set alone: use DISABLE_SCHEDULING_OPTION_TASK_COMPLETION, the only one that waits \
                 for tasks";
    refused_as::<_, NodeDisabling>(
        &right,
        &[
            (|r| r.deadline = span(MONTH + 1), "deadline: is 2592001 seconds: at most 2592000 are allowed"),
            (
                |r| r.deadline = span(-1),
                "deadline: is -1 seconds, which is not a usable time span: use at least 0 seconds",
            ),
            (|r| r.option = 0, alone),
            (|r| r.option = 1, alone),
            (|r| r.option = 2, alone),
            (
                |r| r.option = 4,
                "option: 4 is not a value of DisableSchedulingOption: use one of DISABLE_SCHEDULING_OPTION_REQUEUE, \
                 DISABLE_SCHEDULING_OPTION_TERMINATE, DISABLE_SCHEDULING_OPTION_TASK_COMPLETION",
            ),
        ],
    );
    assert_eq!(NodeDisabling::try_from(right.clone()).unwrap().deadline, Some(limits::DRAIN_DEADLINE_MAX));
    let unset = wire::DisableNodeSchedulingRequest { option: 0, deadline: None, ..right };
    assert_eq!(NodeDisabling::try_from(unset).unwrap().option, DrainOption::Requeue);
}

#[test]
fn what_becomes_of_the_tasks_of_nodes_that_leave_or_restart() {
    const RETAINED: &str = "is not supported by this version: use NODE_DEALLOCATION_OPTION_TASK_COMPLETION";
    let option = |number| {
        let ids = || ("p".to_owned(), "n".to_owned());
        let (pool_id, node_id) = ids();
        let reboot = wire::RebootNodeRequest { pool_id, node_id, option: number, ..Default::default() };
        let (pool_id, node_id) = ids();
        let reimage = wire::ReimageNodeRequest { pool_id, node_id, option: number, ..Default::default() };
        let (pool_id, node_id) = ids();
        let removal = wire::RemoveNodesRequest {
            pool_id,
            node_ids: vec![node_id],
            node_deallocation_option: number,
            ..Default::default()
        };
        let resize = wire::ResizePoolRequest {
            pool_id: ids().0,
            target_dedicated_nodes: Some(1),
            node_deallocation_option: number,
            ..Default::default()
        };
        [
            NodeRestart::try_from(reboot).map(|restart| restart.option),
            NodeRestart::try_from(reimage).map(|restart| restart.option),
            NodeRemoval::try_from(removal).map(|removal| removal.option),
            PoolResize::try_from(resize).map(|resize| resize.option),
        ]
        .map(|outcome| outcome.map_err(|errors| errors.to_string()))
    };
    let fields = ["option", "option", "node_deallocation_option", "node_deallocation_option"];
    let requeue = DrainOption::Requeue;
    for (number, expected) in
        [(0, requeue), (1, requeue), (2, DrainOption::Terminate), (3, DrainOption::TaskCompletion)]
    {
        assert_eq!(option(number), fields.map(|_field| Ok(expected)));
    }
    assert_eq!(option(4), fields.map(|field| Err(format!("{field}: {RETAINED}"))));
    let unknown = "5 is not a value of NodeDeallocationOption: use one of NODE_DEALLOCATION_OPTION_REQUEUE, \
                   NODE_DEALLOCATION_OPTION_TERMINATE, NODE_DEALLOCATION_OPTION_TASK_COMPLETION";
    assert_eq!(option(5), fields.map(|field| Err(format!("{field}: {unknown}"))));
}

#[test]
fn a_removal_has_at_least_five_minutes() {
    let right = wire::RemoveNodesRequest {
        pool_id: "p".into(),
        node_ids: vec!["n".into()],
        resize_timeout: span(300),
        ..Default::default()
    };
    let text = "resize_timeout: is 299 seconds, which is not a usable time span: use at least 300 seconds";
    refused_as::<_, NodeRemoval>(&right, &[(|r| r.resize_timeout = span(299), text)]);
    assert_eq!(NodeRemoval::try_from(right).unwrap().timeout, Some(limits::RESIZE_TIMEOUT_MIN));
}

#[test]
fn what_a_node_says_in_excess_is_cut_and_not_refused() {
    let long = "ä".repeat(limits::NODE_TEXT_BYTES_MAX);
    let pair = wire::NameValuePair { name: "n".into(), value: long.clone() };
    let error = wire::NodeError {
        code: "DiskPressure".into(),
        message: long.clone(),
        details: vec![pair; 40],
        occur_time: Some(prost_types::Timestamp::default()),
    };
    let health = NodeHealth::try_from(wire::NodeHealth { errors: vec![error.clone(); 11] }).unwrap();
    assert_eq!(health.errors.len(), limits::NODE_ERRORS_MAX);
    assert_eq!(health.errors[0].message.len(), limits::NODE_TEXT_BYTES_MAX);
    assert_eq!(health.errors[0].details.len(), 32);
    assert_eq!(health.errors[0].details[0].1.len(), limits::NODE_TEXT_BYTES_MAX);
    let nameless = wire::NodeError { code: String::new(), occur_time: None, ..error };
    let errors = NodeHealth::try_from(wire::NodeHealth { errors: vec![nameless] }).unwrap_err();
    let paths: Vec<_> = errors.errors().iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["health.errors[0].occur_time", "health.errors[0].code"]);

    let capabilities = wire::NodeCapabilities { notes: vec![long; 17], ..Default::default() };
    let facts = wire::MachineFacts {
        machine_id: "m".into(),
        boot_id: "b".into(),
        boot_time: Some(prost_types::Timestamp::default()),
        capabilities: Some(capabilities),
        ..Default::default()
    };
    let capabilities = MachineFacts::try_from(facts).unwrap().capabilities;
    assert_eq!(capabilities.notes.len(), limits::CAPABILITY_NOTES_MAX);
    assert_eq!(capabilities.notes[0].len(), limits::NODE_TEXT_BYTES_MAX);
    // An agent of an older protocol says nothing of what it cannot do.
    assert_eq!((capabilities.isolation, capabilities.disk_limit), (IsolationLevel::None, None));
    assert!(!capabilities.reboot && !capabilities.task_users);
}

#[test]
fn metrics_of_too_many_attempts() {
    let attempt = wire::AttemptRef { job_id: "j".into(), task_id: "t".into(), attempt: 1 };
    let usage = wire::AttemptUsage { attempt: Some(attempt), usage: None };
    let with = |count| wire::Metrics { node: None, attempts: vec![usage.clone(); count] };
    refused_as::<_, Metrics>(
        &with(1000),
        &[
            (
                |m| m.attempts.push(m.attempts[0].clone()),
                "metrics.attempts: has 1001 entries: at most 1000 are allowed",
            ),
            (
                |m| m.node = Some(wire::NodeMetrics::default()),
                "metrics.node.measure_time: is required: give the point in time",
            ),
            (
                |m| m.attempts[999].attempt = None,
                "metrics.attempts[999].attempt: is required: name the attempt",
            ),
        ],
    );
}
