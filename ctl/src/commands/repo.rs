//! Repo: `ctl repo`.

use lazarette_core::{
    error::{Failure, Reason},
    run::Progress,
    units::ByteCount,
};
use lazarette_proto::{
    controller::v1::{
        CheckRepositoryRequest, GetRepositoryPasswordRequest, ListRepositoriesRequest,
        check_repository_response::Item,
    },
    convert::ConvertError,
};

use crate::{
    args::{RepoVerb, RepositoryWord},
    connect::{Connection, refused},
    error::{CtlError, Exit},
    escape,
    output::Output,
    view::repository::{CheckView, PasswordView, RepositoryView},
};

pub(super) async fn run(
    verb: RepoVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        RepoVerb::List => output.show(&list(connection).await?)?,
        RepoVerb::Show { repository } => {
            output.show(&named(list(connection).await?, &repository)?)?;
        }
        RepoVerb::Check { repository, read_data } => {
            return check(connection, output, &repository, read_data).await;
        }
        RepoVerb::Password { repository } => {
            let request = GetRepositoryPasswordRequest { repository: repository.to_string() };
            let answer = connection.repositories().get_repository_password(request).await;
            let doing = format!("read the password of {repository}");
            let answer = answer.map_err(refused(doing))?.into_inner();
            let view = PasswordView { password: answer.password, location: answer.location };
            output.show(&view)?;
            if !output.is_json() {
                output.say(&format!("for `restic --repo {}`", escape::line(&view.location)));
            }
        }
    }
    Ok(Exit::Done)
}

async fn list(connection: &Connection) -> Result<Vec<RepositoryView>, CtlError> {
    let answer = connection.repositories().list_repositories(ListRepositoriesRequest {}).await;
    let repositories = answer.map_err(refused("list repositories"))?.into_inner().repositories;
    Ok(repositories.into_iter().map(Into::into).collect())
}

/// The one that is meant; a stack's name alone is enough where only one has it.
fn named(
    repositories: Vec<RepositoryView>,
    wanted: &RepositoryWord,
) -> Result<RepositoryView, CtlError> {
    let is_it = |it: &RepositoryView| match wanted {
        RepositoryWord::Id(id) => it.repository_id == id.to_string(),
        RepositoryWord::Stack(address) if address.host.is_some() => it.stack == address.to_string(),
        RepositoryWord::Stack(address) => {
            it.stack.rsplit_once('/').is_some_and(|(_host, stack)| stack == address.stack.as_str())
        }
    };
    let mut found: Vec<_> = repositories.into_iter().filter(is_it).collect();
    let failure = match (found.pop(), found.as_slice()) {
        (Some(only), []) => return Ok(only),
        (None, _) => Failure::new(Reason::RepositoryUnknown, "there is none"),
        (Some(one), others) => {
            let stacks = others.iter().chain([&one]).map(|it| it.stack.as_str());
            let stacks: Vec<_> = stacks.collect();
            let message = format!("more than one is called so: {}", stacks.join(", "));
            Failure::new(Reason::StackAmbiguous, message)
        }
    };
    Err(CtlError::Refused { doing: format!("find the repository `{wanted}`"), failure })
}

async fn check(
    connection: &Connection,
    output: &mut Output,
    repository: &RepositoryWord,
    read_data: bool,
) -> Result<Exit, CtlError> {
    let doing = format!("check {repository}");
    let request = CheckRepositoryRequest { repository: repository.to_string(), read_data };
    let answer = connection.repositories().check_repository(request).await;
    let mut items = answer.map_err(refused(&doing))?.into_inner();
    let mut view = CheckView::default();
    let mut is_whole = false;
    while let Some(item) = items.message().await.map_err(refused(&doing))? {
        match item.item {
            Some(Item::Progress(it)) => output.packs(&Progress {
                component: None,
                done: ByteCount(it.pack_count),
                total: Some(ByteCount(it.total_pack_count)),
            }),
            Some(Item::Damage(damage)) => view.add(damage),
            Some(Item::Summary(summary)) => {
                view.end(summary);
                is_whole = true;
            }
            None => {}
        }
    }
    output.end_progress();
    if !is_whole {
        return Err(CtlError::strange(doing)(ConvertError::new("summary", "is missing")));
    }
    output.show(&view)?;
    if view.damage_count == 0 && view.damages.is_empty() {
        return Ok(Exit::Done);
    }
    let message = format!("{} objects are damaged", view.damage_count);
    let failure = Failure::new(Reason::RepositoryDamaged, message);
    Err(CtlError::Refused { doing, failure })
}

#[cfg(test)]
mod tests {
    use lazarette_proto::controller::v1::Repository;

    use super::*;

    fn repositories() -> Vec<RepositoryView> {
        let of = |stack: &str| {
            let repository_id = lazarette_core::id::RepositoryId::new().to_string();
            Repository { repository_id, stack: stack.to_owned(), ..Default::default() }.into()
        };
        vec![of("web1/shop"), of("web2/shop"), of("web1/blog")]
    }

    #[test]
    fn a_repository_is_found_by_the_name_of_its_stack_where_that_is_enough() {
        assert_eq!(named(repositories(), &"blog".parse().unwrap()).unwrap().stack, "web1/blog");
        assert_eq!(
            named(repositories(), &"web2/shop".parse().unwrap()).unwrap().stack,
            "web2/shop"
        );
        let error = named(repositories(), &"shop".parse().unwrap()).unwrap_err();
        assert_eq!(error.reason(), Reason::StackAmbiguous);
        assert!(error.message().contains("web1/shop"), "{}", error.message());
    }
}
