// SPDX-License-Identifier: Apache-2.0
// A driver or worker process as the cluster sees it: owns objects, submits tasks
// and actor calls, and (a worker) executes them.
//
// The cores (ObjectTable, TaskSubmitter, ActorSubmitter, CallQueue) form one
// monitor under the gateway's mutex. A thread that enters takes the mutex, runs
// the cores, performs what they returned (frames, wake-ups), and leaves; nothing
// holds the mutex while it sends, waits, copies large data or runs Python.
//
//   core_worker.cc            connecting, ending, messages of the raylet
//   core_worker_objects.cc    put, get, wait, borrowing
//   core_worker_tasks.cc      submitting, leases, replies
//   core_worker_lineage.cc    lost objects, made again
//   core_worker_cancel.cc     calls that are not wanted any more
//   core_worker_actors.cc     creating and calling actors
//   core_worker_executor.cc   a worker's side: calls in, replies out
//   core_worker_task_events.cc  what has been run, told to the GCS
//   core_worker_peers.cc      connections between core workers
//   core_worker_explain.cc    why a wait takes so long
//
// Threading:  public methods from any thread, without the mutex, unless a
//             comment says otherwise. They may wait; callers let go of the GIL.
// Ownership:  owns everything it made; Objects are held by count (Hold, Drop).
// Errors:     Status and Result, codes per method.
#pragma once

#include <pthread.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"
#include "common/status.h"
#include "core_worker/actor_submitter.h"
#include "core_worker/call_queue.h"
#include "core_worker/core_worker_types.h"
#include "core_worker/gateway.h"
#include "core_worker/gateway_store.h"
#include "core_worker/handed_back.h"
#include "core_worker/lineage.h"
#include "core_worker/object_stream.h"
#include "core_worker/object_table.h"
#include "core_worker/payload.h"
#include "core_worker/peer.h"
#include "core_worker/task_event_buffer.h"
#include "core_worker/task_submitter.h"
#include "fbs/raylet_generated.h"
#include "fbs/worker_generated.h"

namespace skyray::core_worker {

class CoreWorker : private GatewayHandler {
 public:
  static Result<std::unique_ptr<CoreWorker>> Connect(CoreWorkerOptions options);
  ~CoreWorker() override;
  // Says its last words and ends the conversation; who waits is woken. The rest goes
  // with its destruction. Not for two threads at once.
  void Stop();

  const SessionInfo& session() const { return session_; }
  Statistics GetStatistics();

  // --- Objects (core_worker_objects.cc) ---
  // A new object with that value, one reference for the caller. Takes over the
  // holds in `contained`. Errors: OutOfMemory, Disconnected (the store).
  Result<Object*> Put(const PayloadParts& parts, std::vector<Object*> contained);
  // One reference more to a named object, e.g. from a pickled ObjectRef, which may say
  // where it was stored.
  Object* Restore(const ObjectId& id, const WorkerAddress& owner,
                  const std::optional<StoredAt>& stored = std::nullopt);
  // It is being pickled: others will ask for it by name.
  WorkerAddress Publish(Object* object);
  // The same with one reference more, to go with it, and where it is stored, if it is.
  std::pair<WorkerAddress, std::optional<StoredAt>> PublishHeld(Object* object);
  void Hold(Object* object);
  void Drop(Object* object);
  void DropAll(std::span<Object* const> objects);
  bool IsReady(Object* object);
  bool AreDistinct(std::span<Object* const> objects);
  // The places of the first `count` that are ready, or of all. `fetch`: those that only
  // other nodes have are brought here, all at once, and ready as they come.
  std::vector<size_t> FirstReady(std::span<Object* const> objects, size_t count, bool fetch,
                                 int64_t deadline_ns);
  // Once, without the mutex, when it becomes ready; false (not kept) if it is.
  bool OnReady(Object* object, std::function<void()> callback);
  // Waits until `wanted` of them are ready, or, given `failed`, one is an error: the first
  // such one is put there. deadline_ns is of NowNs().
  WaitResult WaitReady(std::span<Object* const> objects, size_t wanted, int64_t deadline_ns,
                       Object** failed = nullptr);
  // REQUIRES: ready. Brings it to this node if need be. With may_wait false only
  // what is in this process is read, and NotFound says that the rest has to wait.
  // Errors: ObjectLost, TimedOut, Cancelled (interrupted).
  Result<ReadableValue> Read(Object* object, int64_t deadline_ns, bool may_wait);
  // Brings an object into this node's store.
  Status Fetch(const ObjectId& id, std::span<const NodeId> nodes, uint64_t bytes,
               int64_t deadline_ns);

  // --- Tasks (core_worker_tasks.cc) ---
  Function* InternFunction(const FunctionId& id, const std::string& name,
                           const FunctionOptions& options = {});
  LeaseClass* InternLeaseClass(const ResourceSet& resources, const Strategy& strategy,
                               const std::string& runtime_env = {}, bool retriable = true);
  // One reference for the caller in each of the returns.
  // Of a generator: one return, its end; `stream` is set to its items if Streaming.
  ObjectList SubmitTask(const TaskTemplate& task, CallArguments arguments,
                        std::shared_ptr<ObjectStream>* stream = nullptr);

  // Ends the task that is to make the object, as far as it goes: nothing is said
  // about one that has finished. Errors: InvalidArgument: force, and an actor's call.
  Status Cancel(Object* object, bool force, bool recursive);

  // --- Actors (core_worker_actors.cc) ---
  // An actor that is handed out comes with one handle, which is to be dropped.
  struct CreatedActor {
    Actor* actor;
    std::optional<std::string> existing_handle;
  };
  // Errors: AlreadyExists, InvalidArgument.
  Result<CreatedActor> CreateActor(ActorOptions options, CallArguments arguments);
  Actor* GetActor(const ActorId& id);
  // Errors: NotFound.
  Result<CreatedActor> GetNamedActor(const std::string& name, const std::string& ray_namespace);
  Status KillActor(const ActorId& id, bool no_restart);
  Function* InternMethod(Actor* actor, const std::string& method,
                         const MethodOptions& options = {});
  // Calls of this process to it that are not completed.
  size_t PendingCalls(Actor* actor);
  void SetUnordered(Actor* actor);
  // One return without the vector: null if returns == 0. More: in `more`.
  // A generator's: as SubmitTask.
  Object* SubmitActorCall(Actor* actor, Function* method, uint16_t returns, CallArguments arguments,
                          std::vector<Object*>* more, GeneratorKind kind = GeneratorKind::None,
                          std::shared_ptr<ObjectStream>* stream = nullptr);
  void DropHandle(Actor* actor);
  // The handle is being passed on: an object of ours, with one reference for the
  // caller, that is to go with it. Null if handles do not decide on this actor's life.
  Object* ShareHandle(Actor* actor);
  // What came with a handle.
  void KeepScope(Actor* actor, Object* scope);

  // --- Items of generators (core_worker_streams.cc) ---
  struct NextItemResult {
    bool ready;      // If not, WaitReady(PeekItem).
    Object* object;  // With one reference for the caller; null: there are no more.
  };
  NextItemResult NextItem(ObjectStream& stream);
  // The object of the next item, or of the end, with one reference for the caller.
  Object* PeekItem(ObjectStream& stream);
  bool NextItemIsReady(ObjectStream& stream);
  bool StreamIsFinished(ObjectStream& stream);
  void DropStream(ObjectStream& stream);
  // An executor's: sends an item to the caller. Errors: OutOfMemory; Disconnected:
  // nobody is there to take it.
  Status Yield(IncomingCall& call, TaskReturn item);
  // Whether the caller wants more now; the second waits until it does. False there:
  // it never will, or a signal's handler raised.
  bool HasRoom(const IncomingCall& call);
  bool AwaitRoom(IncomingCall& call);

  // --- Requests to the raylet ---
  // Waits for the reply: the verified bytes of a raylet Message.
  Result<std::vector<uint8_t>> Request(
      const std::function<flatbuffers::Offset<void>(flatbuffers::FlatBufferBuilder&,
                                                    fb::raylet::Body&)>& build,
      int64_t deadline_ns = INT64_MAX);
  // Does not wait, nor hears of failure.
  void Tell(const std::function<flatbuffers::Offset<void>(flatbuffers::FlatBufferBuilder&,
                                                          fb::raylet::Body&)>& build);

  // --- Execution (core_worker_executor.cc) ---
  // Every thread that runs calls of a group takes them here: the next one, or
  // null: the thread is to end (or was interrupted). `alone`, if given: no other
  // thread of the group is left to take the one after it.
  std::unique_ptr<IncomingCall> NextCall(size_t group = 0, bool* alone = nullptr);
  // The main thread of an actor whose calls others run: until the process is to end.
  void AwaitExit();
  // An event loop's: what may start now, or null.
  std::unique_ptr<IncomingCall> TakeCall();
  // Waits for calls or for the descriptor (an epoll's) given to Watch, until the
  // deadline (0: only looks for calls).
  Work AwaitWork(int64_t deadline_ns);
  void Watch(int descriptor);
  // A value of an argument that was a reference.
  Result<ReadableValue> ReadArgument(const ReceivedRefArg& argument);
  // Answers the call. Takes over the holds in the returns. `error` is a payload
  // that stands for all of them.
  void Reply(IncomingCall& call, uint32_t execute_us, std::vector<TaskReturn> returns);
  // `retryable`: the function's options say that it is to be made again.
  void ReplyError(IncomingCall& call, uint32_t execute_us, const PayloadParts& error,
                  bool retryable = false);
  // Instead of an answer, if an argument could not be read (IncomingCall::lost): the
  // caller sees to it, and makes the call again.
  void Bounce(IncomingCall& call);
  // The process is to end, and what is queued here is to run elsewhere.
  void Retire(const std::string& reason);
  // The call will not be answered but by the end of the process.
  void Abandon(IncomingCall& call);
  void ActorStarted(IncomingCall& call, const std::optional<PayloadParts>& error,
                    const std::string& message);
  // References that this thread restores in between are the call's borrows; later
  // ones (of values that its code gets) are told to their owners at once.
  static void BeginArguments(IncomingCall& call);
  static void EndArguments();
  // Whether its caller has cancelled a call that runs.
  bool IsCancelled(const IncomingCall& call);
  // The thread that runs tasks: it is sent SIGINT when one is cancelled (IsCancelled).
  void InterruptOnCancel(pthread_t thread);
  // The task that the calling thread runs, for what it submits; null: none.
  static void SetCurrentTask(const TaskId* task);
  // Null if the caller bound none (an actor's calls).
  std::shared_ptr<const BoundLease> LeaseOf(const IncomingCall& call);
  // The process ends when what runs has been answered.
  void RequestExit(const std::string& reason, Leaving how = Leaving::Announced);
  // The task that stands for what this process puts itself.
  const TaskId& put_task() const { return put_task_; }

 private:
  using RayletBuild =
      std::function<flatbuffers::Offset<void>(flatbuffers::FlatBufferBuilder&, fb::raylet::Body&)>;

  CoreWorker(CoreWorkerOptions options, SessionInfo session);
  // Has those in `places` brought here, until `wanted` have come or time is up: the places
  // of those that have, and of those that are known to be lost (get() says so).
  std::vector<size_t> BringHere(std::span<Object* const> objects, std::span<const size_t> places,
                                size_t wanted, int64_t deadline_ns);
  // Those that no copy came of are asked for by their owners, or made again.
  void LookElsewhere(std::span<Object* const> objects, std::span<const size_t> places,
                     size_t wanted, int64_t deadline_ns, std::vector<size_t>& here);
  // An object of which the nodes have copies; brings it to this one if need be.
  Result<ReadableValue> ReadCopy(const ObjectId& id, std::span<const NodeId> nodes, uint64_t bytes,
                                 int64_t deadline_ns);
  // One of which its owner knows more than we were told.
  Result<ReadableValue> ReadFromOwner(const ObjectId& id, const WorkerAddress& owner);
  // An object that should be in this node's store, in memory or on disk. `await_seal`: its
  // maker may be about to seal it. Errors: ObjectNotFound; ObjectLost; TimedOut.
  Result<ReadableValue> ReadFromStore(const ObjectId& id, int64_t deadline_ns, bool await_seal);
  // This node has a copy now.
  void NoteLocalCopy(Object& object);
  // As it is; but a worker ends when the store has.
  Status StoreFailed(const Status& status);
  Status Start(UniqueFd raylet, UniqueFd listener, std::unique_ptr<StoreAccess> store);

  // GatewayHandler; all below with the mutex held unless said otherwise.
  void OnFrame(Channel& channel, FrameView& frame) override;
  void OnClosed(Channel& channel) override;
  void OnAccepted(UniqueFd socket) override;
  void OnWatched() override;
  int64_t OnTimer(int64_t now_ns) override;

  uint64_t SendRaylet(Lock* lock, const RayletBuild& build, const PendingRequest* pending);
  void OnRayletMessage(const fb::raylet::Message& message, FrameView& frame);
  void OnRayletReply(const fb::raylet::Message& message, FrameView& frame);
  void OnRayletLost();
  // Those that nobody waits for any more, at the end.
  void DeleteTasks();
  // What it owns would be gone with it.
  bool OwnsObjects() const { return objects_.size() > objects_.borrowed_count(); }
  void SendStillNeeded();

  void Apply(ReadyEffects& ready);
  // Tasks whose last argument has become ready go on.
  void Unblock(std::span<Task* const> unblocked);
  void Apply(FreedEffects& freed);
  void Perform(Lock* lock, SubmitActions& actions);
  void FailObject(Object* object, ErrorCode code, const std::string& message);
  void AskOwner(Object* object, uint32_t lost_attempt = 0);
  void AnswerBorrower(Channel& channel, const Object& object);
  // --- core_worker_explain.cc ---
  struct Explanation;
  // Says to the user why they are not ready; a worker only if it lacks something that
  // others may have, and now and then. Lets go of the mutex. False: interrupted meanwhile.
  bool TellWhyWaiting(Lock& lock, std::span<Object* const> objects);
  void Explain(const Object& object, Explanation& out, int depth) const;
  void ExplainTask(const Task& task, Explanation& out, int depth) const;
  void ExplainActor(const Actor& actor, const Task& call, Explanation& out) const;
  const Task* FindTaskOf(const Object& object) const;
  void TellUnheeded(const ValuePtr& error);
  // Before the retry is counted.
  void TellRetried(const Task& task, const ValuePtr& error);
  // Where an actor's creator may have to hear of it.
  void TellActorEnded(const Actor& actor, const fb::raylet::ActorInfo& info);
  void TellManyCalls(Actor& actor);
  // The raylet's words; nothing: interrupted meanwhile.
  std::optional<std::string> AskRayletWhy(const Explanation& asked);

  WaitResult WaitBlocking(Lock& lock, GatewayWaiter& waiter, int64_t deadline_ns, Channel* hot);

  Task* NewTask(Function* function, uint16_t returns, CallArguments& arguments);
  ObjectList MakeReturns(Task* task);
  void WaitForArguments(Task* task);
  void Dispatch(Lock* lock, Task* task);
  ValuePtr ArgumentError(const Task& task) const;
  void SendCall(Lock* lock, Channel& channel, Task* task, bool keep_arguments);
  // Fills the returns with `error`, and is done with the task.
  void Complete(Task* task, const ValuePtr& error);
  void PublishCopy(Object* object);
  void FinishTask(Task* task);
  void OnReply(Channel& channel, std::span<const uint8_t> body);
  bool TakeReturns(ByteReader& reader, const ReplyHeader& header, Channel& channel, Task* task,
                   bool& retry, std::optional<ObjectId>& lost);
  bool TakeReturn(ByteReader& reader, Channel& channel, Task* task, size_t index);
  // One that is not wanted any more: read, and let go of.
  bool SkipReturn(ByteReader& reader, Channel& channel, const ObjectId& id, bool delete_copy);
  bool TakeValue(ByteReader& reader, Channel& channel, Object* object);
  void OnHandBack(Channel& channel, const fb::worker::HandBack& message);
  void OnRetired(Channel& channel);
  void TakeBack(const std::vector<Task*>& back);
  void OnLeaseReply(const PendingRequest& pending, const fb::raylet::LeaseReply& reply);
  void OnLeaseLost(const fb::raylet::LeaseLost& lost);
  // Both have come: the end of its socket, and how its process ended.
  void FinishLostLease(Lease* lease);
  void SendReturnLease(const Lease& lease, bool worker_failed);
  void RequestLease(LeaseClass* lease_class, const NodeId& node);
  void MakeStream(Task* task, GeneratorKind kind, std::shared_ptr<ObjectStream>* stream);
  void EndStream(Task* task, const ValuePtr& error, ReadyEffects& ready);
  void OnYield(Channel& channel, std::span<const uint8_t> body);
  // An item that was there before: it is lost since, or not wanted.
  bool TakeItemAgain(ByteReader& reader, Channel& channel, Task* task, uint64_t index);
  void TellTaken(const ObjectStream& stream, const Task& task);
  void OnItemsTaken(const TaskId& task, uint64_t count);
  void WakeRoom(IncomingCall& call);
  static bool IsRoom(const IncomingCall& call) {
    return call.items_untaken_max == 0 || call.items_taken == UINT64_MAX ||
           call.items_yielded < call.items_taken + call.items_untaken_max;
  }
  // Appends a returned or yielded value, which becomes object `index` of the task.
  Status AppendReturn(std::string& out, IncomingCall& call, uint32_t index,
                      const TaskReturn& value);
  // What a value that goes to the caller refers to is the caller's from here on.
  void HandOver(std::vector<Object*>& contained, const WorkerAddress& caller);
  void DefineFunction(Channel& channel, const Function* function);
  // `retry`: running it again may help.
  void RetryOrFail(Task* task, ErrorCode code, const std::string& message, bool retry = true);
  void CancelTask(Task* task, bool force, bool recursive);
  void CancelChildren(const TaskId& parent, bool force);
  void OnCancel(Channel& channel, const fb::worker::Cancel& cancel);
  void LeaveAtOnce();
  // It raised what its options say to try again for.
  void RetryRaised(Task* task, uint32_t execute_us);

  // The copies of that attempt are gone: they are asked for, or made, again.
  void ReportLost(Object* object, uint32_t attempt, const std::string& how = {});
  // REQUIRES: owned, and its copies are lost.
  void Recover(Object* object, const std::string& how = {});
  void RunAgain(Task* task);
  // An actor gave the call back, as it could not read that argument.
  void Bounced(Task* task, const ObjectId& lost);
  void HoldAgain(Object* object);
  void KeepLineage(Task* task);
  void EndLineage(Task* task, bool evicted, FreedEffects& freed);
  // It will not make the items of its generator again.
  void LetGoOfItems(Task* task, FreedEffects& freed);

  struct Creation {
    ActorOptions options;
    Actor* actor;
  };
  // All its arguments are there.
  void SendCreation(Task* task);
  // One of them is an error: dead before it was born.
  void FailCreation(Task* task, const ValuePtr& error);
  // Its arguments are not waited for any longer.
  void AbandonCreation(Actor* actor);
  // Without a task its arguments are to come, or `error` came in their place.
  void SendCreateActor(const Creation& creation, const std::string& creation_task,
                       const ValuePtr& error);
  void OnActorUpdate(const fb::raylet::ActorInfo& info);
  void CloseToDead(Actor* actor, const fb::raylet::ExitInfo* exit);
  void FailLost(Actor* actor, const std::vector<Task*>& calls);
  void FailLost(Actor* actor, const std::vector<Task*>& calls, const std::string& why);
  void ProbeLater(Actor* actor);
  int64_t ProbeDue(int64_t now_ns);
  void OnPong(const Channel& channel);
  // Which of all pings to that peer it is, from 1 on.
  uint64_t SendPing(const WorkerAddress& address);
  // Until these have read what was sent to them before, or are gone, or answer nobody.
  void AwaitRead(Lock& lock, std::span<const WorkerAddress> peers);
  void Answered(const WorkerId& peer, uint64_t pings);
  void ConnectActor(Actor* actor);
  void ActorConnected(Actor* actor);
  void FinishActorDeath(Actor* actor);
  void PumpActor(Lock* lock, Actor* actor);
  Task* NewActorTask(Actor* actor, Function* method, uint16_t returns, CallArguments& arguments);
  // No handle is left, here or anywhere.
  void EndActor(Actor* actor);
  void LetGoOfHandle(Actor* actor);
  void LetGoOfScope(Actor* actor);
  void ScopeEnded(Actor* actor);
  void LastCallEnded(Actor* actor);
  // Soon, if that is so then.
  void ForgetIfUnused(Actor* actor);
  void Forget(const ActorId& id);

  Peer* GetPeer(const WorkerAddress& address);
  void PeerConnected(Peer& peer, UniqueFd socket);
  void PeerUnreachable(const WorkerAddress& address);
  void SendPeer(const WorkerAddress& address, const flatbuffers::FlatBufferBuilder& message);
  void TellBorrow(bool add, const OwnedRef& ref, const WorkerAddress& borrower,
                  uint32_t removed = 1);
  // A value that we have been sent refers to another object, whose owner knows of us.
  void TakeContained(Object* outer, const OwnedRef& ref, const WorkerAddress& from);
  void TakeContained(Object* outer, const fb::worker::ObjectReply& reply,
                     const WorkerAddress& from);
  // A reference to an object of ours came back.
  void TookBack(const ObjectId& object, const WorkerAddress& from);
  void OnWorkerMessage(Channel& channel, const fb::worker::Message& message);
  void DropPeer(Channel& channel, const std::string& why);
  void OnHello(Channel& channel, const fb::worker::Hello* hello);
  void OnBindLease(Channel& channel, const fb::worker::BindLease& bind);
  void OnGetObject(Channel& channel, const ObjectId& id, uint32_t lost_attempt);
  void OnObjectReply(Channel& channel, const fb::worker::ObjectReply& reply);

  void OnCall(Channel& channel, std::span<const uint8_t> body);
  void OnStartActor(const fb::raylet::StartActor& start);
  void HandBackQueued();
  void HandBack(const std::vector<std::unique_ptr<IncomingCall>>& calls);
  void FinishReply(Lock& lock, IncomingCall& call, std::string& out);
  // Without the mutex.
  void ReplyErrorPayload(IncomingCall& call, uint32_t execute_us, std::span<const uint8_t> payload,
                         bool retryable = false);
  // The borrowed references that a call leaves behind, to be told to their owners.
  std::vector<OwnedRef> TakeBorrows(IncomingCall& call);
  // The call whose arguments this thread is unpacking, or null.
  static IncomingCall* Unpacked();
  void Started(Lock& lock, IncomingCall& call, int64_t now);
  void Finished(IncomingCall& call);
  void Record(IncomingCall& call);
  // --- core_worker_task_events.cc ---
  // Null: what runs of it is not recorded.
  std::unique_ptr<RecordedFunction> NewRecorded(bool wanted, const std::string& name,
                                                const std::string& code) const;
  // `flushed`: the round in which the raylet asked for them, which is answered if there are
  // none, too; or 0.
  void SendTaskEvents(uint64_t flushed);
  void WakeIdle(size_t group);
  // When what is queued behind the running task may run elsewhere; INT64_MAX: never.
  int64_t HandBackDue() const;
  void EndIfDone();
  bool TakesCalls() const { return exit_reason_.empty() || exit_after_queued_; }

  CoreWorkerOptions options_;
  SessionInfo session_;
  WorkerAddress self_;
  Gateway gateway_;
  std::unique_ptr<StoreAccess> store_;
  std::string worker_socket_;

  // The cores.
  ObjectTable objects_;
  HandedBack handed_back_;
  TaskSubmitter submitter_;
  ActorSubmitter actors_;
  CallQueue calls_;
  Lineage lineage_;
  TaskEventBuffer events_;

  ChannelPtr raylet_;
  std::string raylet_lost_;  // Why, once it is.
  Channel* last_called_ = nullptr;
  uint64_t next_request_ = 1;
  std::unordered_map<uint64_t, PendingRequest> requests_;
  std::unordered_map<WorkerId, Peer> peers_;
  // By id, name and options: options(name=...) names the same function differently.
  std::unordered_map<std::string, std::unique_ptr<Function>> functions_;
  struct LostLease {
    std::string how;
    ErrorCode code = ErrorCode::WorkerCrashed;
    bool no_retry = false;            // It would only happen again.
    bool free = false;                // The worker left as it was meant to: no task is to blame.
    std::optional<uint64_t> started;  // The calls below that number had been, if that is known.
  };
  std::unordered_map<LeaseId, LostLease> lost_leases_;  // Told before the end of the socket.
  std::unordered_map<Task*, Creation> creations_;
  bool stopped_ = false;
  TaskList awaiting_arguments_;       // Not those of actors' methods.
  std::vector<ActorId> unreachable_;  // That may yet answer.
  std::vector<PongWait> awaiting_pong_;
  std::unordered_set<ObjectId> fetching_;      // Asked for by wait(), and not here yet.
  std::unordered_map<TaskId, Task*> streams_;  // Generators that have yielded.
  size_t tasks_pending_ = 0;

  uint64_t task_seed_;
  uint64_t task_counter_ = 0;
  TaskId put_task_;
  uint32_t put_counter_ = 0;

  // A worker's.
  struct IdleThread : GatewayWaiter {
    explicit IdleThread(size_t takes) : group(takes) { remaining = 1; }
    size_t group;  // Whose calls it takes; or kAnyGroup, kNoGroup.
  };
  static constexpr size_t kAnyGroup = SIZE_MAX;
  static constexpr size_t kNoGroup = SIZE_MAX - 1;
  std::vector<IdleThread*> idle_;
  Channel* last_caller_ = nullptr;
  std::vector<ChannelPtr> paused_;
  int64_t executing_since_ns_ = 0;
  int64_t replies_since_ns_ = 0;
  int64_t events_due_ns_ = INT64_MAX;  // To be told then; there are none before.
  TaskEventSource event_source_;
  std::optional<pthread_t> interrupted_thread_;
  bool is_actor_ = false;           // Its calls run nowhere else.
  bool is_async_ = false;           // An actor whose calls run on an event loop.
  bool cancelled_on_loop_ = false;  // AwaitWork is to say so.
  std::string exit_reason_;         // An end was asked for.
  bool exit_after_queued_ = false;  // But not before the queue is empty.
  bool retired_ = false;            // Nor before others have let go of what it owns.
  bool told_exiting_ = false;
  bool exit_requested_ = false;  // The threads are to end now.
  bool told_blocked_ = false;
  int64_t explained_at_ns_ = INT64_MIN / 2;
  std::unordered_map<uint64_t, std::shared_ptr<const BoundLease>> bound_leases_;  // By channel.
  std::unordered_map<TaskId, IncomingCall*> bounded_streams_;  // Running, of those that may pause.
  bool room_news_ = false;                                     // Some of them has room again.
};

}  // namespace skyray::core_worker
