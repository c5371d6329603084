// SPDX-License-Identifier: Apache-2.0
// NodeServer: what workers have run, on its way to the GCS. It goes by the stream of events,
// so that what was told before a round is over has come there before its end is told.
#include <cstring>

#include "raylet/node_server.h"

namespace skyray::raylet {

constexpr size_t kExecutionBytes = sizeof(fb::task_event::Execution);

void NodeServer::RelayTaskEvents(const Client& client, const wire::TaskEvents& message) {
  if (const auto* executions = message.executions()) {
    pb::NodeEvent event;
    event.mutable_task_events()->set_batch(std::string(BytesOf(message.batch())));
    event.mutable_task_events()->set_executions(executions->Data(),
                                                executions->size() * kExecutionBytes);
    event.mutable_task_events()->set_dropped(message.dropped());
    gcs_->SendEvent(std::move(event));
  }
  if (message.flushed() > 0) TellFlushed(flushes_.Answered(client.worker, message.flushed()));
}

void NodeServer::FlushTaskEvents(uint64_t round) {
  std::set<WorkerId> asked;
  for (const auto& [worker, connection] : by_worker_) {
    const Client* const client = FindClient(connection);
    if (client == nullptr || client->is_driver) continue;  // A driver runs nothing.
    Builder builder;
    Send(connection, 0, builder, wire::CreateFlushTaskEvents(builder, round));
    asked.insert(worker);
  }
  if (flushes_.Begin(round, std::move(asked))) TellFlushed({round});
}

void NodeServer::TellFlushed(const std::vector<uint64_t>& rounds) {
  for (const uint64_t round : rounds) {
    pb::NodeEvent event;
    event.set_task_events_flushed(round);
    gcs_->SendEvent(std::move(event));
  }
}

void NodeServer::RelayGetTaskEvents(ConnectionId connection, uint64_t request,
                                    const wire::GetTaskEvents& message) {
  pb::GetTaskEventsRequest call;
  call.set_after(message.after());
  call.set_flush_wait_ms(message.flush_wait_ms());
  gcs_->GetTaskEvents(call, [=, this](const Result<pb::GetTaskEventsReply>& reply) {
    const Status status = reply ? Status() : reply.error();
    Builder builder;
    const auto text = builder.CreateString(status.message());
    std::vector<Offset<wire::TaskEventBatch>> batches;
    if (reply) {
      for (const pb::TaskEventBatch& batch : reply->batches()) {
        const auto data = PutBytes(builder, batch.data());
        const size_t count = batch.executions().size() / kExecutionBytes;
        fb::task_event::Execution* to = nullptr;
        const auto executions = builder.CreateUninitializedVectorOfStructs(count, &to);
        std::memcpy(static_cast<void*>(to), batch.executions().data(), count * kExecutionBytes);
        batches.push_back(wire::CreateTaskEventBatch(builder, data, executions));
      }
    }
    const auto list = builder.CreateVector(batches);
    Send(connection, request, builder,
         wire::CreateTaskEventsReply(builder, status.code(), text, list, reply ? reply->next() : 0,
                                     reply ? reply->dropped() : 0));
  });
}

}  // namespace skyray::raylet
