//! What the elements hold, one type per `MsgType`; those that hold messages again are in `relay.rs`.
//!
//! Page of all: <https://www.tencentcloud.com/document/product/1047/33527>.

use crate::{Text, open::open_integer_enum, packet::packet};

packet! {
    /// `TIMTextElem`: text.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct PlainText<'a> {
        /// What was written.
        pub text: Option<Text<'a>> = "Text",
    }
}

packet! {
    /// `TIMCustomElem`: whatever the app makes of it. A message has one of them at most.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Custom<'a> {
        /// What the app sends; often JSON.
        pub data: Option<Text<'a>> = "Data",
        /// A description, which is what an offline push shows.
        pub desc: Option<Text<'a>> = "Desc",
        /// An extension, also handed to an offline push.
        pub ext: Option<Text<'a>> = "Ext",
        /// Name of the file that an offline push sounds with.
        pub sound: Option<Text<'a>> = "Sound",
    }
}

packet! {
    /// `TIMFaceElem`: an emoji of the app's own set.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Face<'a> {
        /// Its number in the set.
        pub index: Option<i64> = "Index",
        /// What the app adds to it.
        pub data: Option<Text<'a>> = "Data",
    }
}

packet! {
    /// `TIMLocationElem`: a place.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Location<'a> {
        /// Its name.
        pub desc: Option<Text<'a>> = "Desc",
        /// In degrees. A whole number is encoded with `.0` behind it.
        pub latitude: Option<f64> = "Latitude",
        /// In degrees. A whole number is encoded with `.0` behind it.
        pub longitude: Option<f64> = "Longitude",
    }
}

packet! {
    /// `TIMImageElem`: a picture.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Image<'a> {
        /// Names the picture.
        pub uuid: Option<Text<'a>> = "UUID",
        /// What kind of file it is.
        pub image_format: Option<ImageFormat> = "ImageFormat",
        /// The picture in its sizes.
        pub image_info_array: Option<Vec<ImageInfo<'a>>> = "ImageInfoArray",
    }
}

packet! {
    /// A picture in one size.
    pub struct ImageInfo<'a> {
        /// Which size.
        pub size_type: Option<ImageSize> = "Type",
        /// In bytes; 0 when not known.
        pub size: Option<i64> = "Size",
        /// In pixels; 0 when not known.
        pub width: Option<i64> = "Width",
        /// In pixels; 0 when not known.
        pub height: Option<i64> = "Height",
        /// Where it can be fetched. In capitals only here: other elements have a `Url`.
        pub url: Option<Text<'a>> = "URL",
    }
}

open_integer_enum! {
    /// What kind of file a picture is.
    pub enum ImageFormat {
        /// JPEG.
        Jpg = 1,
        /// GIF.
        Gif = 2,
        /// PNG.
        Png = 3,
        /// BMP.
        Bmp = 4,
        /// Said to be none of these.
        Unlisted = 255,
    }
}

open_integer_enum! {
    /// Which size of a picture it is.
    pub enum ImageSize {
        /// As it was sent.
        Original = 1,
        /// Large.
        Large = 2,
        /// A thumbnail.
        Thumbnail = 3,
    }
}

packet! {
    /// `TIMSoundElem`: a voice message.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Sound<'a> {
        /// Where it can be fetched. Old clients (SDK 2 and 3) leave it out.
        pub url: Option<Text<'a>> = "Url",
        /// Names the recording.
        pub uuid: Option<Text<'a>> = "UUID",
        /// In bytes.
        pub size: Option<i64> = "Size",
        /// How long it is, in seconds.
        pub second: Option<i64> = "Second",
        /// How it is fetched: 2, by its URL.
        pub download_flag: Option<i64> = "Download_Flag",
    }
}

packet! {
    /// `TIMFileElem`: a file.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct File<'a> {
        /// Where it can be fetched. Old clients (SDK 2 and 3) leave it out.
        pub url: Option<Text<'a>> = "Url",
        /// Names the file's contents.
        pub uuid: Option<Text<'a>> = "UUID",
        /// In bytes.
        pub file_size: Option<i64> = "FileSize",
        /// What the sender calls it.
        pub file_name: Option<Text<'a>> = "FileName",
        /// The same in the spelling of the page's table; its samples have the other.
        pub file_name_in_table: Option<Text<'a>> = "fileName",
        /// How it is fetched: 2, by its URL.
        pub download_flag: Option<i64> = "Download_Flag",
    }
}

packet! {
    /// `TIMVideoFileElem`: a video and a picture of it.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Video<'a> {
        /// Where the video can be fetched. Old clients (SDK 2 and 3) leave it out.
        pub video_url: Option<Text<'a>> = "VideoUrl",
        /// Names the video.
        pub video_uuid: Option<Text<'a>> = "VideoUUID",
        /// In bytes.
        pub video_size: Option<i64> = "VideoSize",
        /// How long it is, in seconds; 0 when sent from a browser.
        pub video_second: Option<i64> = "VideoSecond",
        /// What kind of file it is, such as `mp4`.
        pub video_format: Option<Text<'a>> = "VideoFormat",
        /// How the video is fetched: 2, by its URL.
        pub video_download_flag: Option<i64> = "VideoDownloadFlag",
        /// Where the picture can be fetched.
        pub thumb_url: Option<Text<'a>> = "ThumbUrl",
        /// Names the picture.
        pub thumb_uuid: Option<Text<'a>> = "ThumbUUID",
        /// The picture, in bytes.
        pub thumb_size: Option<i64> = "ThumbSize",
        /// The picture, in pixels.
        pub thumb_width: Option<i64> = "ThumbWidth",
        /// The picture, in pixels.
        pub thumb_height: Option<i64> = "ThumbHeight",
        /// What kind of file the picture is, such as `JPG`.
        pub thumb_format: Option<Text<'a>> = "ThumbFormat",
        /// How the picture is fetched: 2, by its URL.
        pub thumb_download_flag: Option<i64> = "ThumbDownloadFlag",
    }
}

packet! {
    /// `TIMStreamElem`: text that arrives piece by piece, from a bot. Documented for sending; callbacks may have it too.
    ///
    /// <https://cloud.tencent.com/document/product/269/128596>
    pub struct Stream<'a> {
        /// The pieces.
        pub chunks: Option<Vec<StreamChunk<'a>>> = "Chunks",
        /// What clients show that know no streams.
        pub compatible_text: Option<Text<'a>> = "CompatibleText",
        /// Names the stream that the pieces belong to.
        pub stream_msg_id: Option<Text<'a>> = "StreamMsgID",
    }
}

packet! {
    /// One piece of a stream.
    pub struct StreamChunk<'a> {
        /// What kind of piece; `data` is text.
        pub event_type: Option<Text<'a>> = "EventType",
        /// Its place in the stream.
        pub index: Option<i64> = "Index",
        /// What it adds, as Markdown.
        pub markdown: Option<Text<'a>> = "Markdown",
        /// Whether the stream ends here.
        pub is_last: Option<bool> = "IsLast",
    }
}
