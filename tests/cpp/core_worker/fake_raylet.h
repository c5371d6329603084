// SPDX-License-Identifier: Apache-2.0
// A raylet's socket with nothing behind it: registers whoever comes, notes what
// it is asked, and says what the test tells it to.
//
// Threading:  a thread a client; public methods from the test's thread.
// Ownership:  owns its sockets and threads. Errors: fail the test.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core_worker/frames_out.h"
#include "core_worker/words.h"
#include "fbs/raylet_generated.h"
#include "ipc/socket.h"
#include "ipc/verify.h"

namespace skyray::core_worker {

class FakeRaylet {
 public:
  using Body = fb::raylet::Body;
  using Build = std::function<flatbuffers::Offset<void>(Builder&)>;
  struct Received {
    WorkerId from;
    std::vector<uint8_t> bytes;
    const fb::raylet::Message* operator->() const {
      return flatbuffers::GetRoot<fb::raylet::Message>(bytes.data());
    }
  };

  FakeRaylet(const std::string& directory, const std::string& store_socket)
      : directory_(directory), store_socket_(store_socket) {
    auto listener = ipc::ListenUnix(socket_path(), 16);
    EXPECT_TRUE(listener.has_value());
    listener_ = std::move(*listener);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~FakeRaylet() {
    shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (auto& client : clients_) shutdown(client.get(), SHUT_RDWR);
    for (auto& thread : threads_) thread.join();
    unlink(socket_path().c_str());
  }
  std::string socket_path() const { return directory_ + "/raylet.sock"; }

  // The oldest message of that kind, taken out.
  Received Await(Body type) {
    std::unique_lock lock(mutex_);
    auto found = received_.end();
    const bool came = changed_.wait_for(lock, std::chrono::seconds(60), [&] {
      found = std::find_if(received_.begin(), received_.end(),
                           [&](const Received& one) { return one->body_type() == type; });
      return found != received_.end();
    });
    if (!came) {
      ADD_FAILURE() << "the raylet was never sent " << fb::raylet::EnumNameBody(type);
      abort();
    }
    Received message = std::move(*found);
    received_.erase(found);
    return message;
  }
  size_t Count(Body type) {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(
        std::count_if(received_.begin(), received_.end(),
                      [&](const Received& one) { return one->body_type() == type; }));
  }

  void Send(const WorkerId& to, uint64_t request_id, Body type, const Build& build) {
    Builder builder(512);
    const auto body = build(builder);
    builder.Finish(fb::raylet::CreateMessage(builder, request_id, type, body));
    std::lock_guard lock(mutex_);
    const auto client = registered_.find(to);
    ASSERT_NE(client, registered_.end());
    EXPECT_TRUE(ipc::SendFrame(client->second, ipc::kFlatBuffer,
                               {builder.GetBufferPointer(), builder.GetSize()})
                    .ok());
  }
  // The client sees its raylet die.
  void HangUpOn(const WorkerId& client) {
    std::lock_guard lock(mutex_);
    shutdown(registered_.at(client), SHUT_RDWR);
  }

  const NodeId node = NodeId::FromRandom();
  const JobId job = JobIdFromInt(3);

 private:
  void Accept() {
    for (;;) {
      UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!socket.valid()) return;
      std::lock_guard lock(mutex_);
      const int fd = clients_.emplace_back(std::move(socket)).get();
      threads_.emplace_back([this, fd] { Serve(fd); });
    }
  }
  void Serve(int fd) {
    WorkerId client;
    for (;;) {
      auto frame = ipc::ReceiveFrame(fd);
      if (!frame) return;
      const auto* message = ipc::Verified<fb::raylet::Message>(*frame);
      if (message == nullptr) {
        ADD_FAILURE() << "the raylet was sent garbage";
        return;
      }
      if (const auto* hello = message->body_as_Register()) {
        client = ToId<WorkerId>(hello->worker_id());
        {
          std::lock_guard lock(mutex_);
          registered_[client] = fd;
        }
        Send(client, message->request_id(), Body::RegisterReply, [&](Builder& builder) {
          const auto node_id = PutId(builder, node);
          const auto job_id = PutId(builder, job);
          const auto store = builder.CreateString(store_socket_);
          const auto directory = builder.CreateString(directory_);
          fb::raylet::RegisterReplyBuilder reply(builder);
          reply.add_node_id(node_id);
          reply.add_job_id(job_id);
          reply.add_store_socket(store);
          reply.add_socket_dir(directory);
          reply.add_session_dir(directory);
          return reply.Finish().Union();
        });
        continue;
      }
      if (message->body_as_Kv() != nullptr) {
        Send(client, message->request_id(), Body::KvReply,
             [](Builder& builder) { return fb::raylet::CreateKvReply(builder).Union(); });
        continue;
      }
      std::lock_guard lock(mutex_);
      received_.push_back({client, std::move(frame->body)});
      changed_.notify_all();
    }
  }

  std::string directory_;
  std::string store_socket_;
  UniqueFd listener_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Received> received_;
  std::map<WorkerId, int> registered_;
  std::list<UniqueFd> clients_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace skyray::core_worker
