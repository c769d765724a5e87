#pragma once

#include "etcd/kv.pb-c.h"
#include "etcd/rpc.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "needletail/internal/v1/shard.pb-c.h"
#include "needletail/v1/access.pb-c.h"
#include "needletail/v1/backup.pb-c.h"
#include "needletail/v1/cluster.pb-c.h"
#include "needletail/v1/collections.pb-c.h"
#include "needletail/v1/common.pb-c.h"
#include "needletail/v1/points.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "opentelemetry/proto/common/v1/common.pb-c.h"
#include "opentelemetry/proto/resource/v1/resource.pb-c.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <stddef.h>
#include <stdint.h>

/// A google.protobuf.FileDescriptorSet of every file in Proto/ whose services are ours, imports before importers.
extern const uint8_t nt_descriptor_set[];
extern const size_t nt_descriptor_set_size;
/// Swift does not see arrays of unknown length.
static inline const uint8_t *nt_descriptor_set_start(void) { return nt_descriptor_set; }
