// SPDX-License-Identifier: Apache-2.0
// NodeServer: what its clients ask of the GCS, so that the GCS has one
// connection per node.
#include "raylet/node_server.h"
#include "raylet/utf8.h"

namespace skyray::raylet {

namespace {
constexpr char kFunctions[] = "fun";
constexpr size_t kFunctionBytesMax = 64 << 20;
}  // namespace

void NodeServer::CacheFunction(const std::string& key, const std::string& value) {
  if (function_bytes_ + value.size() > kFunctionBytesMax) {
    functions_.clear();
    function_bytes_ = 0;
  }
  if (functions_.emplace(key, value).second) function_bytes_ += value.size();
}

void NodeServer::ReplyKv(ConnectionId connection, uint64_t request, const Status& status,
                         bool found, std::string_view value, const std::vector<std::string>& keys) {
  Builder builder(value.size() + 1024);
  const auto text = builder.CreateString(status.message());
  const auto bytes = PutBytes(builder, value);
  std::vector<Offset<wire::Bytes>> entries;
  for (const std::string& key : keys) {
    const auto data = PutBytes(builder, key);
    entries.push_back(wire::CreateBytes(builder, data));
  }
  const auto list = builder.CreateVector(entries);
  Send(connection, request, builder,
       wire::CreateKvReply(builder, status.code(), text, found, bytes, list));
}

void NodeServer::RelayKv(ConnectionId connection, uint64_t request, const wire::Kv& message) {
  const std::string name_space = ToValidUtf8(TextOf(message.namespace_()));
  const std::string key(BytesOf(message.key()));
  const bool is_function = name_space == kFunctions;
  // The fields that all five requests have.
  const auto fill = [&](auto call) {
    call.set_namespace_(name_space);
    call.set_key(key);
    return call;
  };
  // The answer to one of them; `found` reads its flag.
  const auto answer = [this, connection, request](auto found) {
    return [this, connection, request, found](const auto& reply) {
      const bool yes = reply && found(*reply);
      ReplyKv(connection, request, reply ? Status() : reply.error(), yes);
    };
  };
  switch (message.op()) {
    case wire::KvOp::Put: {
      auto call = fill(pb::KvPutRequest());
      call.set_value(std::string(BytesOf(message.value())));
      call.set_overwrite(message.overwrite());
      if (is_function) CacheFunction(key, call.value());
      return gcs_->KvPut(call, answer([](const pb::KvPutReply& reply) { return reply.added(); }));
    }
    case wire::KvOp::Get: {
      if (const auto it = functions_.find(key); is_function && it != functions_.end()) {
        return ReplyKv(connection, request, Status(), true, it->second);
      }
      auto call = fill(pb::KvGetRequest());
      call.set_wait_ms(message.wait_ms());
      return gcs_->KvGet(call, [=, this](const Result<pb::KvGetReply>& reply) {
        if (!reply) return ReplyKv(connection, request, reply.error(), false);
        if (is_function && reply->found()) CacheFunction(key, reply->value());
        ReplyKv(connection, request, Status(), reply->found(), reply->value());
      });
    }
    case wire::KvOp::Delete:
      if (is_function) functions_.erase(key);
      return gcs_->KvDelete(fill(pb::KvDeleteRequest()),
                            answer([](const pb::KvDeleteReply& reply) { return reply.deleted(); }));
    case wire::KvOp::Exists:
      return gcs_->KvExists(fill(pb::KvExistsRequest()),
                            answer([](const pb::KvExistsReply& reply) { return reply.exists(); }));
    case wire::KvOp::Keys: {
      pb::KvKeysRequest call;
      call.set_namespace_(name_space);
      call.set_prefix(key);
      return gcs_->KvKeys(call, [=, this](const Result<pb::KvKeysReply>& reply) {
        if (!reply) return ReplyKv(connection, request, reply.error(), false);
        const std::vector<std::string> keys(reply->keys().begin(), reply->keys().end());
        ReplyKv(connection, request, Status(), !keys.empty(), {}, keys);
      });
    }
  }
  Drop(connection, "it asks for an unknown operation on keys");
}

void NodeServer::RelayGetNamedActor(ConnectionId connection, uint64_t request,
                                    const wire::GetNamedActor& message) {
  pb::GetNamedActorRequest call;
  call.set_name(ToValidUtf8(TextOf(message.name())));
  call.set_namespace_(ToValidUtf8(TextOf(message.namespace_())));
  gcs_->GetNamedActor(call, [=, this](const Result<pb::GetActorReply>& reply) {
    const Status status = reply ? Status() : reply.error();
    Builder builder;
    const auto text = builder.CreateString(status.message());
    Offset<wire::ActorInfo> info;
    if (reply && reply->has_actor()) info = PutActorInfo(builder, reply->actor());
    Send(connection, request, builder,
         wire::CreateActorInfoReply(builder, status.code(), text, info));
  });
}

void NodeServer::RelayListActors(ConnectionId connection, uint64_t request,
                                 const wire::ListActors& message) {
  pb::ListActorsRequest call;
  call.set_all_namespaces(message.all_namespaces());
  call.set_namespace_(ToValidUtf8(TextOf(message.namespace_())));
  call.set_named_only(message.named_only());
  gcs_->ListActors(call, [=, this](const Result<pb::ListActorsReply>& reply) {
    const Status status = reply ? Status() : reply.error();
    Builder builder;
    const auto text = builder.CreateString(status.message());
    std::vector<Offset<wire::ActorInfo>> infos;
    if (reply) {
      for (const pb::ActorInfo& info : reply->actors())
        infos.push_back(PutActorInfo(builder, info));
    }
    const auto list = builder.CreateVector(infos);
    Send(connection, request, builder,
         wire::CreateListActorsReply(builder, status.code(), text, list));
  });
}

void NodeServer::RelayKillActor(ConnectionId connection, uint64_t request,
                                const wire::KillActor& message) {
  pb::KillActorRequest call;
  call.set_actor_id(std::string(BytesOf(message.actor_id())));
  call.set_no_restart(message.no_restart());
  gcs_->KillActor(call, [=, this](const Result<pb::KillActorReply>& reply) {
    SendAck(connection, request, reply ? Status() : reply.error());
  });
}

void NodeServer::RelayGetNodes(ConnectionId connection, uint64_t request) {
  gcs_->GetNodes({}, [=, this](const Result<pb::GetNodesReply>& reply) {
    const Status status = reply ? Status() : reply.error();
    Builder builder;
    const auto text = builder.CreateString(status.message());
    std::vector<Offset<wire::NodeInfo>> infos;
    if (reply) {
      for (pb::NodeInfo info : reply->nodes()) {
        if (info.node_id() == self_.id.Binary()) {
          // Nobody knows this node's better than this node.
          info.mutable_available()->Clear();
          CopyResources(ledger_.available(), info.mutable_available());
        }
        infos.push_back(PutNodeInfo(builder, info));
      }
    }
    const auto list = builder.CreateVector(infos);
    Send(connection, request, builder, wire::CreateNodesReply(builder, status.code(), text, list));
  });
}

}  // namespace skyray::raylet
