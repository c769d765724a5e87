import CNeedletailMessages
import CProtobufC

/// A struct of protobuf-c that is a message: it begins with a `ProtobufCMessage`.
protocol WireMessage: SendableMetatype {
    /// Fills in the defaults and the pointer to the descriptor.
    static func initialise(_ message: UnsafeMutablePointer<Self>)
}

extension WireMessage {
    /// Read from a fresh message: Swift may copy a C global before taking its address, and protobuf-c compares addresses.
    static var descriptor: UnsafePointer<ProtobufCMessageDescriptor> {
        withUnsafeTemporaryAllocation(of: Self.self, capacity: 1) { space in
            let message = space.baseAddress!
            initialise(message)
            return UnsafeRawPointer(message).assumingMemoryBound(to: ProtobufCMessage.self).pointee.descriptor
        }
    }
}

// needletail/v1/common.proto
extension Needletail__V1__PointId: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point_id__init(message) }
}
extension Needletail__V1__Vector: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__vector__init(message) }
}
extension Needletail__V1__Value: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__value__init(message) }
}
extension Needletail__V1__ListValue: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_value__init(message) }
}
extension Needletail__V1__MapValue__EntriesEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__map_value__entries_entry__init(message) }
}
extension Needletail__V1__MapValue: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__map_value__init(message) }
}
extension Needletail__V1__Coverage: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__coverage__init(message) }
}
extension Needletail__V1__ShardCoverage: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard_coverage__init(message) }
}

// needletail/v1/collections.proto
extension Needletail__V1__GraphParameters: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__graph_parameters__init(message) }
}
extension Needletail__V1__IndexSpec: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__index_spec__init(message) }
}
extension Needletail__V1__TransformSpec: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__transform_spec__init(message) }
}
extension Needletail__V1__LeanVec: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__lean_vec__init(message) }
}
extension Needletail__V1__RescoreSpec: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__rescore_spec__init(message) }
}
extension Needletail__V1__VectorField: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__vector_field__init(message) }
}
extension Needletail__V1__Durability: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__durability__init(message) }
}
extension Needletail__V1__CreateCollectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__create_collection_request__init(message) }
}
extension Needletail__V1__Collection: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__collection__init(message) }
}
extension Needletail__V1__CodecStatus: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__codec_status__init(message) }
}
extension Needletail__V1__TrainCollectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__train_collection_request__init(message) }
}
extension Needletail__V1__GetCollectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_collection_request__init(message) }
}
extension Needletail__V1__ListCollectionsRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_collections_request__init(message) }
}
extension Needletail__V1__ListCollectionsResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_collections_response__init(message) }
}
extension Needletail__V1__UpdateCollectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__update_collection_request__init(message) }
}
extension Needletail__V1__DeleteCollectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_collection_request__init(message) }
}
extension Needletail__V1__DeleteCollectionResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_collection_response__init(message) }
}

// needletail/v1/points.proto
extension Needletail__V1__Point__VectorsEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__vectors_entry__init(message) }
}
extension Needletail__V1__Point__PayloadEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__payload_entry__init(message) }
}
extension Needletail__V1__Point: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__init(message) }
}
extension Needletail__V1__UpsertRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__upsert_request__init(message) }
}
extension Needletail__V1__PackedPoints: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__packed_points__init(message) }
}
extension Needletail__V1__WriteResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__write_response__init(message) }
}
extension Needletail__V1__ShardSequence: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard_sequence__init(message) }
}
extension Needletail__V1__UpsertStreamResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__upsert_stream_response__init(message) }
}
extension Needletail__V1__PointParts: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point_parts__init(message) }
}
extension Needletail__V1__StoredPoint__VectorsEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__vectors_entry__init(message) }
}
extension Needletail__V1__StoredPoint__PayloadEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__payload_entry__init(message) }
}
extension Needletail__V1__StoredPoint: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__init(message) }
}
extension Needletail__V1__GetPointsRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_points_request__init(message) }
}
extension Needletail__V1__GetPointsResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_points_response__init(message) }
}
extension Needletail__V1__DeletePointsRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_points_request__init(message) }
}
extension Needletail__V1__SetPayloadRequest__PayloadEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) {
        needletail__v1__set_payload_request__payload_entry__init(message)
    }
}
extension Needletail__V1__SetPayloadRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__set_payload_request__init(message) }
}
extension Needletail__V1__DeletePayloadRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_payload_request__init(message) }
}
extension Needletail__V1__ScrollRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scroll_request__init(message) }
}
extension Needletail__V1__ScrollResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scroll_response__init(message) }
}
extension Needletail__V1__CountRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__count_request__init(message) }
}
extension Needletail__V1__CountResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__count_response__init(message) }
}
extension Needletail__V1__Query: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__query__init(message) }
}
extension Needletail__V1__SearchRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_request__init(message) }
}
extension Needletail__V1__ScoredPoint__VectorsEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__vectors_entry__init(message) }
}
extension Needletail__V1__ScoredPoint__PayloadEntry: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__payload_entry__init(message) }
}
extension Needletail__V1__ScoredPoint: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__init(message) }
}
extension Needletail__V1__SearchWork: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_work__init(message) }
}
extension Needletail__V1__RecallEstimate: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__recall_estimate__init(message) }
}
extension Needletail__V1__SearchResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_response__init(message) }
}
extension Needletail__V1__SearchBatchRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_batch_request__init(message) }
}
extension Needletail__V1__SearchBatchResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_batch_response__init(message) }
}
extension Needletail__V1__SearchResult: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_result__init(message) }
}

// needletail/v1/cluster.proto
extension Needletail__V1__ClusterStatusRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cluster_status_request__init(message) }
}
extension Needletail__V1__ClusterStatusResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cluster_status_response__init(message) }
}
extension Needletail__V1__ListNodesRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_nodes_request__init(message) }
}
extension Needletail__V1__ListNodesResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_nodes_response__init(message) }
}
extension Needletail__V1__Node: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__node__init(message) }
}
extension Needletail__V1__ListShardsRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_shards_request__init(message) }
}
extension Needletail__V1__ListShardsResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_shards_response__init(message) }
}
extension Needletail__V1__Shard: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard__init(message) }
}
extension Needletail__V1__Replica: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__replica__init(message) }
}

// needletail/internal/v1/shard.proto
extension Needletail__Internal__V1__Empty: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__empty__init(message) }
}
extension Needletail__Internal__V1__ShardId: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__shard_id__init(message) }
}
extension Needletail__Internal__V1__Id: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__id__init(message) }
}
extension Needletail__Internal__V1__FieldVector: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__field_vector__init(message) }
}
extension Needletail__Internal__V1__WriteRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__write_request__init(message) }
}
extension Needletail__Internal__V1__WriteReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__write_reply__init(message) }
}
extension Needletail__Internal__V1__Query: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__query__init(message) }
}
extension Needletail__Internal__V1__SearchRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_request__init(message) }
}
extension Needletail__Internal__V1__Scored: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scored__init(message) }
}
extension Needletail__Internal__V1__QueryResult: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__query_result__init(message) }
}
extension Needletail__Internal__V1__RecallEstimate: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__recall_estimate__init(message) }
}
extension Needletail__Internal__V1__ShardReport: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__shard_report__init(message) }
}
extension Needletail__Internal__V1__SearchReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_reply__init(message) }
}
extension Needletail__Internal__V1__GetRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__get_request__init(message) }
}
extension Needletail__Internal__V1__Stored: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__stored__init(message) }
}
extension Needletail__Internal__V1__GetReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__get_reply__init(message) }
}
extension Needletail__Internal__V1__ScrollRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scroll_request__init(message) }
}
extension Needletail__Internal__V1__ScrollReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scroll_reply__init(message) }
}
extension Needletail__Internal__V1__CountRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__count_request__init(message) }
}
extension Needletail__Internal__V1__CountReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__count_reply__init(message) }
}
extension Needletail__Internal__V1__Field: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__field__init(message) }
}
extension Needletail__Internal__V1__CollectionSpec: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__collection_spec__init(message) }
}
extension Needletail__Internal__V1__SampleRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__sample_request__init(message) }
}
extension Needletail__Internal__V1__SampleReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__sample_reply__init(message) }
}
extension Needletail__Internal__V1__TrainRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__train_request__init(message) }
}
extension Needletail__Internal__V1__TrainReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__train_reply__init(message) }
}
extension Needletail__Internal__V1__CodecProgress: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__codec_progress__init(message) }
}
extension Needletail__Internal__V1__Model: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__model__init(message) }
}
extension Needletail__Internal__V1__ReplicaAssignment: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__replica_assignment__init(message) }
}
extension Needletail__Internal__V1__ReplicaStatus: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__replica_status__init(message) }
}
extension Needletail__Internal__V1__NodeStatus: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__node_status__init(message) }
}
extension Needletail__Internal__V1__HeartbeatRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__heartbeat_request__init(message) }
}
extension Needletail__Internal__V1__HeartbeatReply: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__heartbeat_reply__init(message) }
}

// grpc/health/v1/health.proto
extension Grpc__Health__V1__HealthCheckRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__health__v1__health_check_request__init(message) }
}
extension Grpc__Health__V1__HealthCheckResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__health__v1__health_check_response__init(message) }
}

// grpc/reflection/v1/reflection.proto
extension Grpc__Reflection__V1__ServerReflectionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__server_reflection_request__init(message) }
}
extension Grpc__Reflection__V1__ExtensionRequest: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__extension_request__init(message) }
}
extension Grpc__Reflection__V1__ServerReflectionResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) {
        grpc__reflection__v1__server_reflection_response__init(message)
    }
}
extension Grpc__Reflection__V1__FileDescriptorResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__file_descriptor_response__init(message) }
}
extension Grpc__Reflection__V1__ExtensionNumberResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__extension_number_response__init(message) }
}
extension Grpc__Reflection__V1__ListServiceResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__list_service_response__init(message) }
}
extension Grpc__Reflection__V1__ServiceResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__service_response__init(message) }
}
extension Grpc__Reflection__V1__ErrorResponse: WireMessage {
    static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__error_response__init(message) }
}
