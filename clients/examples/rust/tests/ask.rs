//! Every method of sluice.v1 through the stock ttrpc crate, and what goes wrong on the way.
//!
//! tests/e2e/test_stock_rust.py runs these one by one, each against a sluiced of its own (SLUICE_SOCKET) with a scripted
//! model server behind the model "m". Where the two must meet, a test prints "@word" and waits for a line on standard input.
//! They are ignored by default, because by themselves they have nobody to talk to.

use ask::{chat_request, connect, events, pb, ControlClient, EngineClient, Failure};
use std::collections::HashMap;
use std::time::Duration;
use ttrpc::asynchronous::{Client, ClientStreamReceiver};
use ttrpc::context::{self, Context};
use ttrpc::Code;

const FRAME_MAX: usize = 4 << 20;
const N_STREAMS: usize = 12;
const N_CALLS: usize = 3000;
const N_LONG: usize = 12000; // pieces of the answer that is read late

fn long_piece() -> String {
    "0123456789abcdef".repeat(64)
}

/// Ends a test that has failed already.
fn patience() -> Context {
    context::with_duration(Duration::from_secs(20))
}

async fn dial() -> Client {
    let path = std::env::var_os("SLUICE_SOCKET")
        .expect("SLUICE_SOCKET: tests/e2e/test_stock_rust.py starts a sluiced");
    connect(path.as_ref()).await.expect("connecting")
}

async fn engine() -> EngineClient {
    EngineClient::new(dial().await)
}

async fn control() -> ControlClient {
    ControlClient::new(dial().await)
}

/// Tells the driver that the test has come to this word, and waits for it.
async fn meet(word: &'static str) {
    tokio::task::spawn_blocking(move || {
        println!("@{word}");
        let n = std::io::stdin()
            .read_line(&mut String::new())
            .expect("reading standard input");
        assert!(n > 0, "the driver did not answer {word}");
    })
    .await
    .unwrap();
}

fn ask_m(text: &str) -> pb::ChatRequest {
    chat_request("m", text, pb::CallOptions::new())
}

/// Reads a stream to its end and checks the order of its events.
async fn collect(
    stream: &mut ClientStreamReceiver<pb::Event>,
) -> (String, Vec<pb::Event>, Result<(), Failure>) {
    let (mut bytes, mut all) = (Vec::new(), Vec::new());
    let ended = events(stream, |event| {
        bytes.extend_from_slice(&event.text().text);
        all.push(event);
    })
    .await;
    let seqs: Vec<u64> = all.iter().map(|e| e.seq).collect();
    assert!(
        seqs.windows(2).all(|w| w[1] == w[0] + 1),
        "out of order: {seqs:?}"
    );
    (String::from_utf8(bytes).unwrap(), all, ended)
}

/// Reads up to the first piece of the answer.
async fn until_text(stream: &mut ClientStreamReceiver<pb::Event>) -> Vec<u8> {
    loop {
        let event = stream.recv().await.expect("an event").expect("no end yet");
        if event.has_text() {
            return event.text().text.clone();
        }
    }
}

fn expect(ended: Result<(), Failure>, code: Code, word: &str) -> pb::ErrorDetail {
    match ended {
        Err(Failure::Status(c, _, Some(detail))) if c == code as i32 && detail.code == word => {
            *detail
        }
        other => panic!("expected {code:?} {word}, got {other:?}"),
    }
}

async fn is_well(client: &Client) {
    let engine = EngineClient::new(client.clone());
    engine
        .list_models(patience(), &pb::ListModelsRequest::new())
        .await
        .expect("a usable connection");
}

// ---------------------------------------------------------------------------------------------- one answer

#[tokio::test]
#[ignore]
async fn get_info() {
    let info = engine()
        .await
        .get_info(patience(), &pb::GetInfoRequest::new())
        .await
        .unwrap();
    assert!(!info.version.is_empty() && info.api_level >= 1);
    assert_eq!(info.limits.frame_bytes as usize, FRAME_MAX);
    let set: protobuf::descriptor::FileDescriptorSet =
        protobuf::Message::parse_from_bytes(&info.file_descriptor_set).unwrap();
    assert_eq!(set.file[0].service.len(), 2);
}

#[tokio::test]
#[ignore]
async fn list_models() {
    let answer = engine()
        .await
        .list_models(patience(), &pb::ListModelsRequest::new())
        .await
        .unwrap();
    assert_eq!(answer.models.len(), 1);
    assert_eq!(
        (
            answer.models[0].name.as_str(),
            answer.models[0].available_deployments
        ),
        ("m", 1)
    );
}

#[tokio::test]
#[ignore]
async fn status() {
    let answer = control()
        .await
        .status(patience(), &pb::StatusRequest::new())
        .await
        .unwrap();
    assert_eq!(
        (
            answer.config_generation,
            answer.tickets,
            answer.deployments.len()
        ),
        (1, 0, 1)
    );
}

#[tokio::test]
#[ignore]
async fn metadata_is_allowed() {
    let mut ctx = context::with_metadata(HashMap::from([(
        "traceparent".into(),
        vec!["00-1-2-01".into()],
    )]));
    ctx.add("x".into(), "a".into());
    ctx.add("x".into(), "b".into());
    engine()
        .await
        .get_info(ctx.clone(), &pb::GetInfoRequest::new())
        .await
        .unwrap();
    // Unlike Go this library sends metadata with streams, too.
    let mut stream = engine().await.chat(ctx, &ask_m("hello")).await.unwrap();
    assert_eq!(collect(&mut stream).await.0, "Hello world");
}

// ---------------------------------------------------------------------------------------------- streams

#[tokio::test]
#[ignore]
async fn chat() {
    let mut request = ask_m("hello");
    request.options.mut_or_insert_default().request_id = "rust-1".into();
    let mut stream = engine()
        .await
        .chat(Context::default(), &request)
        .await
        .unwrap();
    let (text, all, ended) = collect(&mut stream).await;
    ended.unwrap();
    assert_eq!((text.as_str(), all[0].seq), ("Hello world", 1));
    let done = all.last().unwrap().done();
    assert_eq!(
        done.finish_reasons[0].enum_value().unwrap(),
        pb::FinishReason::FINISH_STOP
    );
    assert_eq!((done.usage.input_tokens, done.usage.output_tokens), (7, 2));
    let started = all
        .iter()
        .find(|e| e.has_started())
        .expect("Started")
        .started();
    assert_eq!(started.request_id, "rust-1");
}

#[tokio::test]
#[ignore]
async fn complete() {
    let request = pb::CompleteRequest {
        model: "m".into(),
        prompt: "once upon".into(),
        ..Default::default()
    };
    let mut stream = engine()
        .await
        .complete(Context::default(), &request)
        .await
        .unwrap();
    let (text, _, ended) = collect(&mut stream).await;
    ended.unwrap();
    assert_eq!(text, "Hello world");
}

#[tokio::test]
#[ignore]
async fn embed() {
    let inputs = ["a", "bbb", "日本"];
    let request = pb::EmbedRequest {
        model: "m".into(),
        inputs: inputs.map(String::from).into(),
        ..Default::default()
    };
    let mut stream = engine()
        .await
        .embed(Context::default(), &request)
        .await
        .unwrap();
    let (_, all, ended) = collect(&mut stream).await;
    ended.unwrap();
    let vectors: Vec<_> = all
        .iter()
        .filter(|e| e.has_embedding())
        .map(|e| e.embedding())
        .collect();
    assert_eq!(vectors.len(), inputs.len());
    for (i, v) in vectors.iter().enumerate() {
        assert_eq!(
            (v.index as usize, v.values[0] as usize, v.values.len()),
            (i, inputs[i].len(), 4)
        );
    }
}

/// The model server echoes what it was asked, so that answers of one connection cannot be mixed up unseen. Several threads:
/// older versions of the library lost or swapped frames there (ttrpc-rust #311, fixed in 0.10).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore]
async fn concurrent_streams() {
    let engine = engine().await;
    let calls: Vec<_> = (0..N_STREAMS)
        .map(|i| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let asked = format!("<{i}>").repeat(50);
                let mut stream = engine
                    .chat(Context::default(), &ask_m(&asked))
                    .await
                    .unwrap();
                let (text, _, ended) = collect(&mut stream).await;
                ended.unwrap();
                assert_eq!(text, asked);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

/// A burst: the answers come to far more than the daemon buffers for one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn many_calls_at_once() {
    let engine = engine().await;
    let calls: Vec<_> = (0..N_CALLS)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                engine
                    .get_info(patience(), &pb::GetInfoRequest::new())
                    .await
                    .unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

/// One stream that is not read for a while: nothing of it is lost, and nobody else notices. This library takes everything in
/// meanwhile (its mailboxes have no limit), so calls on the same connection go on, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn slow_reader() {
    let client = dial().await;
    let mut stream = EngineClient::new(client.clone())
        .chat(Context::default(), &ask_m("hello"))
        .await
        .unwrap();
    let first = until_text(&mut stream).await;
    meet("unread").await;
    is_well(&client).await;
    control()
        .await
        .status(patience(), &pb::StatusRequest::new())
        .await
        .unwrap();
    let (rest, _, ended) = collect(&mut stream).await;
    ended.unwrap();
    assert!(
        String::from_utf8(first).unwrap() + &rest == long_piece().repeat(N_LONG),
        "not what was said"
    );
}

// ---------------------------------------------------------------------------------------------- ends before the end

#[tokio::test]
#[ignore]
async fn cancel_by_request_id() {
    let client = dial().await;
    let engine = EngineClient::new(client.clone());
    let mut request = ask_m("hello");
    request.options.mut_or_insert_default().request_id = "mine".into();
    let mut stream = engine.chat(Context::default(), &request).await.unwrap();
    until_text(&mut stream).await;
    let cancel = pb::CancelRequest {
        request_id: "mine".into(),
        ..Default::default()
    };
    assert!(engine.cancel(patience(), &cancel).await.unwrap().found);
    let (_, _, ended) = collect(&mut stream).await;
    assert_eq!(
        expect(ended, Code::CANCELLED, "cancelled").request_id,
        "mine"
    );
    // There is nothing to cancel any more, and that is no error.
    assert!(!engine.cancel(patience(), &cancel).await.unwrap().found);
    is_well(&client).await;
}

/// A deadline in the message is the daemon's to keep.
#[tokio::test]
#[ignore]
async fn deadline_in_the_message() {
    let client = dial().await;
    let mut request = ask_m("hello");
    request.options.mut_or_insert_default().deadline_usec = 200_000;
    let mut stream = EngineClient::new(client.clone())
        .chat(Context::default(), &request)
        .await
        .unwrap();
    let (_, _, ended) = collect(&mut stream).await;
    expect(ended, Code::DEADLINE_EXCEEDED, "deadline_exceeded");
    is_well(&client).await;
}

/// A deadline of the context: this library sends it with streams, too, and leaves it to the daemon.
#[tokio::test]
#[ignore]
async fn deadline_of_the_context() {
    let client = dial().await;
    let ctx = context::with_duration(Duration::from_millis(200));
    let mut stream = EngineClient::new(client.clone())
        .chat(ctx, &ask_m("hello"))
        .await
        .unwrap();
    let (_, _, ended) = collect(&mut stream).await;
    expect(ended, Code::DEADLINE_EXCEEDED, "deadline_exceeded");
    let answer = ControlClient::new(client)
        .status(patience(), &pb::StatusRequest::new())
        .await
        .unwrap();
    assert_eq!(answer.calls_running, 0);
}

#[tokio::test]
#[ignore]
async fn deadline_that_is_over() {
    let client = dial().await;
    let mut stream = EngineClient::new(client.clone())
        .chat(context::with_timeout(-1), &ask_m("hello"))
        .await
        .unwrap();
    let (_, all, ended) = collect(&mut stream).await;
    expect(ended, Code::DEADLINE_EXCEEDED, "deadline_exceeded");
    assert!(all.is_empty());
    is_well(&client).await;
}

/// Dropping the client and its streams closes the connection, and with it the call.
#[tokio::test]
#[ignore]
async fn close_cancels_the_calls() {
    let mut stream = engine()
        .await
        .chat(Context::default(), &ask_m("hello"))
        .await
        .unwrap();
    until_text(&mut stream).await;
    drop(stream);
    meet("closed").await;
}

#[tokio::test]
#[ignore]
async fn daemon_killed_mid_stream() {
    let client = dial().await;
    let mut stream = EngineClient::new(client.clone())
        .chat(Context::default(), &ask_m("hello"))
        .await
        .unwrap();
    until_text(&mut stream).await;
    meet("kill").await;
    let (_, _, ended) = collect(&mut stream).await;
    assert!(
        matches!(ended, Err(Failure::Transport(_))),
        "a cut answer ended with {ended:?}"
    );
    assert!(EngineClient::new(client)
        .get_info(patience(), &pb::GetInfoRequest::new())
        .await
        .is_err());
}

// ---------------------------------------------------------------------------------------------- control

/// A watch tells the state at once and after each change, until it is cancelled by its request id.
#[tokio::test]
#[ignore]
async fn watch() {
    let engine = engine().await;
    let request = pb::WatchRequest {
        interval_usec: 100_000,
        request_id: "watch".into(),
        ..Default::default()
    };
    let mut watch = control()
        .await
        .watch(Context::default(), &request)
        .await
        .unwrap();
    assert_eq!(watch.recv().await.unwrap().unwrap().calls_running, 0);
    let mut request = ask_m("hello");
    request.options.mut_or_insert_default().request_id = "seen".into();
    let mut stream = engine.chat(Context::default(), &request).await.unwrap();
    until_text(&mut stream).await;
    while watch
        .recv()
        .await
        .unwrap()
        .expect("no end yet")
        .calls_running
        != 1
    {}
    for id in ["watch", "seen"] {
        let cancel = pb::CancelRequest {
            request_id: id.into(),
            ..Default::default()
        };
        assert!(
            engine.cancel(patience(), &cancel).await.unwrap().found,
            "{id}"
        );
    }
    let ended = loop {
        if let Err(e) = watch.recv().await {
            break e;
        }
    };
    expect(Err(ended.into()), Code::CANCELLED, "cancelled");
    expect(collect(&mut stream).await.2, Code::CANCELLED, "cancelled");
}

#[tokio::test]
#[ignore]
async fn reload() {
    let answer = control()
        .await
        .reload(patience(), &pb::ReloadRequest::new())
        .await
        .unwrap();
    assert_eq!((answer.config_generation, answer.models), (2, 1));
}

/// The model server behind "m" has no request for that.
#[tokio::test]
#[ignore]
async fn unload() {
    let control = control().await;
    let request = |model: &str| pb::UnloadRequest {
        model: model.into(),
        ..Default::default()
    };
    let answer = control.unload(patience(), &request("m")).await.unwrap();
    assert_eq!((answer.unloaded, answer.unchanged), (0, 1));
    let refused = control
        .unload(patience(), &request("nope"))
        .await
        .map(|_| ());
    expect(
        refused.map_err(Failure::from),
        Code::NOT_FOUND,
        "model_not_found",
    );
}

/// The answer comes before the daemon goes. (The driver checks that it went well.)
#[tokio::test]
#[ignore]
async fn drain() {
    let answer = control()
        .await
        .drain(patience(), &pb::DrainRequest::new())
        .await
        .unwrap();
    assert_eq!(answer.calls_running, 0);
}

// ---------------------------------------------------------------------------------------------- refusals

#[tokio::test]
#[ignore]
async fn unknown_model() {
    let client = dial().await;
    let request = chat_request("nope", "hello", pb::CallOptions::new());
    let mut stream = EngineClient::new(client.clone())
        .chat(Context::default(), &request)
        .await
        .unwrap();
    let (_, all, ended) = collect(&mut stream).await;
    assert_eq!(
        expect(ended, Code::NOT_FOUND, "model_not_found").http_status,
        404
    );
    assert!(all.is_empty());
    is_well(&client).await;
}

fn is_unimplemented<T>(answer: Result<T, ttrpc::Error>) -> bool {
    matches!(
        answer.map_err(Failure::from),
        Err(Failure::Status(12, _, _))
    )
}

#[tokio::test]
#[ignore]
async fn not_served() {
    let client = dial().await;
    let mut upload = EngineClient::new(client.clone())
        .upload(patience())
        .await
        .unwrap();
    upload
        .send(&pb::UploadChunk {
            content: vec![0; 1000],
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(is_unimplemented(upload.close_and_recv().await));
    is_well(&client).await;
}

/// A frame holds 4 MiB with its envelope. What just fits is answered; what does not is refused, and nothing else is disturbed.
#[tokio::test]
#[ignore]
async fn frame_limit() {
    let client = dial().await;
    let engine = EngineClient::new(client.clone());
    let room = FRAME_MAX - 100; // the envelope, the other fields, and the lengths
    let mut stream = engine
        .chat(Context::default(), &ask_m(&"x".repeat(room)))
        .await
        .unwrap();
    let (text, _, ended) = collect(&mut stream).await;
    ended.unwrap();
    assert_eq!(text, "Hello world");
    // This library does not even send it; raw frames are in test_rpc_traps.py.
    let refused = engine
        .chat(Context::default(), &ask_m(&"x".repeat(FRAME_MAX)))
        .await
        .map(|_| ());
    assert!(refused.is_err(), "4 MiB of text went into one frame");
    is_well(&client).await;
}
