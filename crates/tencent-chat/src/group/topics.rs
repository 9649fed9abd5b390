//! Topics of a community: before and after they are created, changed, gone.

use super::{GroupType, UserDefinedData};
use crate::{Text, packet::packet};

packet! {
    /// A topic is about to be created; the reply may refuse. In which community is not said.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/49463>
    pub struct BeforeCreateTopic<'a>: "Group.CallbackBeforeCreateTopic" {
        /// Who creates it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// What kind of group it is: a community, as only those have topics.
        pub group_type: Option<GroupType> = "Type",
        /// What it is to be called.
        pub name: Option<Text<'a>> = "Name",
    }
}

packet! {
    /// A topic was created.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/49464>
    pub struct AfterCreateTopic<'a>: "Group.CallbackAfterCreateTopic" {
        /// The community.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The topic.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// Who created it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who owns the community.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What kind of group it is: a community, as only those have topics.
        pub group_type: Option<GroupType> = "Type",
        /// What it is called.
        pub name: Option<Text<'a>> = "Name",
        /// The app's own fields; absent unless the app has switched them on.
        pub user_defined_data_list: Option<Vec<UserDefinedData<'a>>> = "UserDefinedDataList",
    }
}

packet! {
    /// Topics were deleted; by whom is not said.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/49465>
    pub struct AfterTopicDestroyed<'a>: "Group.CallbackAfterTopicDestroyed" {
        /// The community.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is: a community, as only those have topics.
        pub group_type: Option<GroupType> = "Type",
        /// The topics.
        pub topic_id_list: Option<Vec<Text<'a>>> = "TopicIdList",
    }
}

packet! {
    /// A topic's name, introduction, notice or avatar has changed. What has not changed is absent.
    ///
    /// As published, it does not say of which topic: look for a `TopicId` in `extra`.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/49466>
    pub struct AfterTopicInfoChanged<'a>: "Group.CallbackAfterTopicInfoChanged" {
        /// The community.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is: a community, as only those have topics.
        pub group_type: Option<GroupType> = "Type",
        /// Who changed it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The new name.
        pub name: Option<Text<'a>> = "Name",
        /// The new introduction.
        pub introduction: Option<Text<'a>> = "Introduction",
        /// The new notice.
        pub notification: Option<Text<'a>> = "Notification",
        /// The URL of the new avatar.
        pub face_url: Option<Text<'a>> = "FaceUrl",
    }
}
