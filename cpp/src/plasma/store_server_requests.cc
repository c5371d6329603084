// SPDX-License-Identifier: Apache-2.0
// What clients may say to a store, one case each.
#include <algorithm>
#include <utility>

#include "plasma/store_server.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;

std::vector<ObjectId> IdsFromWire(const flatbuffers::Vector<const fb::plasma::Id*>& wire) {
  std::vector<ObjectId> ids;
  ids.reserve(wire.size());
  for (const fb::plasma::Id* id : wire) ids.push_back(FromWire<ObjectId>(*id));
  return ids;
}

// The highest version that both speak; 0 if there is none.
uint32_t CommonVersion(const fb::plasma::Connect& connect) {
  const uint32_t newest = std::min(connect.protocol_version(), kProtocolVersion);
  const uint32_t oldest = connect.protocol_version_min() == 0 ? connect.protocol_version()
                                                              : connect.protocol_version_min();
  return newest >= std::max(oldest, kProtocolVersionMin) ? newest : 0;
}

fb::plasma::ObjectCount ToWire(const ObjectCount& count) {
  return fb::plasma::ObjectCount(count.objects, count.bytes);
}

fb::plasma::ObjectInfo ToWire(const LocalObject& object, int64_t now_ms) {
  const NewObject& asked = object.object;
  return fb::plasma::ObjectInfo(
      *plasma::ToWire(asked.id), *plasma::ToWire(asked.owner), object.allocation.offset,
      asked.data_bytes, asked.metadata_bytes,
      static_cast<uint64_t>(std::max<int64_t>(0, now_ms - object.created_ms)), object.construct_ms,
      object.allocation.segment, object.references, object.state, asked.source, asked.primary,
      object.stored);
}

}  // namespace

bool StoreServer::Handle(ipc::ConnectionId connection, Session& session,
                         const fb::plasma::Message& message) {
  if (session.client == 0) return HandleConnect(connection, session, message);
  const ClientId client = session.client;
  const uint64_t request_id = message.request_id();
  const int64_t now = StoreNowMs();
  switch (message.body_type()) {
    case Body::CreateObject:
      HandleCreate(client, request_id, *message.body_as_CreateObject());
      return true;
    case Body::CreateRetry: {
      const auto& retry = *message.body_as_CreateRetry();
      Deliver(
          store_.CreateRetry(client, request_id, retry.create_request_id(), retry.wait_ms(), now));
      return true;
    }
    case Body::Seal: {
      const auto& seal = *message.body_as_Seal();
      Deliver(
          store_.Seal(client, FromWire<ObjectId>(*seal.object_id()), seal.keep_reference(), now));
      return true;
    }
    case Body::Abort: {
      const auto id = FromWire<ObjectId>(*message.body_as_Abort()->object_id());
      Deliver(store_.Abort(client, id, now));
      return true;
    }
    case Body::Get: {
      const auto& get = *message.body_as_Get();
      Deliver(store_.Get(client, request_id, IdsFromWire(*get.object_ids()), get.timeout_ms(), now,
                         get.created_only()));
      return true;
    }
    case Body::Release: {
      const auto id = FromWire<ObjectId>(*message.body_as_Release()->object_id());
      Deliver(store_.Release(client, id, now));
      return true;
    }
    case Body::Delete:
      Deliver(store_.Delete(IdsFromWire(*message.body_as_Delete()->object_ids()), now));
      return true;
    case Body::Evict: {
      const uint64_t freed = Deliver(store_.Evict(message.body_as_Evict()->bytes(), now));
      Send(connection, request_id, Body::EvictReply, fb::plasma::CreateEvictReply(builder_, freed));
      return true;
    }
    default:
      return HandleInspection(connection, message);
  }
}

bool StoreServer::HandleConnect(ipc::ConnectionId connection, Session& session,
                                const fb::plasma::Message& message) {
  const auto* connect = message.body_as_Connect();
  if (connect == nullptr) return false;
  const uint32_t version = CommonVersion(*connect);
  const std::string text = version != 0 ? ""
                                        : "the store speaks protocol versions " +
                                              std::to_string(kProtocolVersionMin) + " to " +
                                              std::to_string(kProtocolVersion) + ", the client " +
                                              std::to_string(connect->protocol_version()) +
                                              "; install the same skyray on both sides";
  const auto reply = fb::plasma::CreateConnectReply(
      builder_, version != 0 ? ErrorCode::Ok : ErrorCode::VersionMismatch,
      builder_.CreateString(text), version != 0 ? version : kProtocolVersion,
      store_.Stats().capacity_bytes);
  Send(connection, message.request_id(), Body::ConnectReply, reply);
  ipc::Connection* peer = server_.Find(connection);
  if (peer == nullptr) return true;
  if (version == 0) {
    peer->CloseAfterSend();
    sessions_.erase(connection);
    return true;
  }
  session.client = store_.AddClient(version >= kProtocolVersionAsksAgain);
  session.version = version;
  connections_.emplace(session.client, connection);
  peer->SetFrameBytesMax(kRequestBytesMax);
  return true;
}

void StoreServer::HandleCreate(ClientId client, uint64_t request_id,
                               const fb::plasma::CreateObject& create) {
  NewObject object;
  object.id = FromWire<ObjectId>(*create.object_id());
  object.owner = FromWire<WorkerId>(*create.owner_id());
  object.data_bytes = create.data_bytes();
  object.metadata_bytes = create.metadata_bytes();
  object.primary = create.primary();
  Deliver(store_.Create(client, request_id, object, create.try_immediately(), StoreNowMs()));
}

bool StoreServer::HandleInspection(ipc::ConnectionId connection,
                                   const fb::plasma::Message& message) {
  const uint64_t request_id = message.request_id();
  switch (message.body_type()) {
    case Body::Contains: {
      const auto id = FromWire<ObjectId>(*message.body_as_Contains()->object_id());
      const bool found = store_.Contains(id);
      Send(connection, request_id, Body::ContainsReply,
           fb::plasma::CreateContainsReply(builder_, found));
      return true;
    }
    case Body::GetDebugState:
      Send(connection, request_id, Body::DebugStateReply,
           fb::plasma::CreateDebugStateReply(builder_, builder_.CreateString(DebugState())));
      return true;
    case Body::List:
      SendPage(connection, request_id, *message.body_as_List());
      return true;
    case Body::GetStats:
      SendStats(connection, request_id);
      return true;
    default:
      return false;
  }
}

void StoreServer::SendPage(ipc::ConnectionId connection, uint64_t request_id,
                           const fb::plasma::List& list) {
  const ObjectStore::Page page = store_.List(list.cursor(), list.objects_max());
  const int64_t now = StoreNowMs();
  std::vector<fb::plasma::ObjectInfo> infos;
  infos.reserve(page.objects.size());
  for (const LocalObject* object : page.objects) infos.push_back(ToWire(*object, now));
  const auto objects = builder_.CreateVectorOfStructs(infos);
  Send(connection, request_id, Body::ListReply,
       fb::plasma::CreateListReply(builder_, objects, page.next));
}

void StoreServer::SendStats(ipc::ConnectionId connection, uint64_t request_id) {
  const StoreStats stats = Stats();
  const auto all = ToWire(stats.objects.all);
  const auto in_use = ToWire(stats.objects.in_use);
  const auto unsealed = ToWire(stats.objects.unsealed);
  const auto sealed_in_use = ToWire(stats.objects.sealed_in_use);
  const auto spillable = ToWire(stats.objects.spillable);
  const auto evictable = ToWire(stats.objects.evictable);
  const auto spilled = ToWire(stats.objects.spilled);
  fb::plasma::StatsReplyBuilder reply(builder_);
  reply.add_capacity_bytes(stats.capacity_bytes);
  reply.add_allocated_bytes(stats.allocated_bytes);
  reply.add_touched_bytes(stats.touched_bytes);
  reply.add_fallback_bytes(stats.objects.fallback.bytes);
  reply.add_largest_free_bytes(stats.largest_free_bytes);
  reply.add_clients(stats.clients);
  reply.add_waiting_gets(stats.waiting_gets);
  reply.add_waiting_creates(stats.waiting_creates);
  reply.add_created_total(stats.totals.created.objects);
  reply.add_created_bytes_total(stats.totals.created.bytes);
  reply.add_evicted_total(stats.totals.evicted.objects);
  reply.add_evicted_bytes_total(stats.totals.evicted.bytes);
  reply.add_spilled_total(stats.totals.spilled.objects);
  reply.add_spilled_bytes_total(stats.totals.spilled.bytes);
  reply.add_restored_total(stats.totals.restored.objects);
  reply.add_restored_bytes_total(stats.totals.restored.bytes);
  reply.add_ignored_requests_total(stats.ignored_requests_total);
  reply.add_all(&all);
  reply.add_in_use(&in_use);
  reply.add_unsealed(&unsealed);
  reply.add_sealed_in_use(&sealed_in_use);
  reply.add_spillable(&spillable);
  reply.add_evictable(&evictable);
  reply.add_spilled(&spilled);
  Send(connection, request_id, Body::StatsReply, reply.Finish());
}

}  // namespace skyray::plasma
