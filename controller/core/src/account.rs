//! Accounts and their keys, and the names of the file store.
//!
//! Both are recorded rather than decided: whether the caller may do it is the gate's business, and no rule of the core
//! asks which files there are.

use crate::input::NewAccount;
use crate::record::{AccountRow, FileRow, Record};
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::{AccessKey, ContainerName, Digest, FilePath, KeyName};

pub(crate) fn create(turn: &mut Turn<'_>, new: NewAccount) -> Tenant {
    let row = AccountRow {
        name: new.name,
        display_name: new.display_name,
        is_operator: new.is_operator,
        primary: new.primary,
        secondary: new.secondary,
        created: turn.now,
        revision: 1,
    };
    turn.record(Record::Account(row.clone()));
    Tenant::new(row)
}

pub(crate) fn regenerate_key(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    name: KeyName,
    key: AccessKey,
) -> Reply {
    match name {
        KeyName::Primary => tenant.row.primary = key,
        KeyName::Secondary => tenant.row.secondary = key,
    }
    tenant.row.revision += 1;
    turn.record(Record::Account(tenant.row.clone()));
    Reply::Done
}

pub(crate) fn put_file(
    turn: &mut Turn<'_>,
    container: ContainerName,
    path: FilePath,
    digest: Digest,
    size: u64,
) -> Reply {
    let row = FileRow { account: turn.account.clone(), container, path, digest, size, modified: turn.now };
    turn.record(Record::File(row));
    Reply::Done
}

pub(crate) fn delete_files(turn: &mut Turn<'_>, container: &ContainerName, paths: Vec<FilePath>) -> Reply {
    for path in paths {
        turn.record(Record::FileGone(turn.account.clone(), container.clone(), path));
    }
    Reply::Done
}
