package import CNeedletailMessages
import CProtobufC

/// A struct of protobuf-c that is a message: it begins with a `ProtobufCMessage`.
package protocol WireMessage: SendableMetatype {
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
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point_id__init(message) }
}
extension Needletail__V1__Vector: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__vector__init(message) }
}
extension Needletail__V1__Value: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__value__init(message) }
}
extension Needletail__V1__ListValue: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_value__init(message) }
}
extension Needletail__V1__MapValue__EntriesEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__map_value__entries_entry__init(message) }
}
extension Needletail__V1__MapValue: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__map_value__init(message) }
}
extension Needletail__V1__Coverage: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__coverage__init(message) }
}
extension Needletail__V1__ShardCoverage: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard_coverage__init(message) }
}

// needletail/v1/collections.proto
extension Needletail__V1__GraphParameters: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__graph_parameters__init(message) }
}
extension Needletail__V1__IndexSpec: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__index_spec__init(message) }
}
extension Needletail__V1__TransformSpec: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__transform_spec__init(message) }
}
extension Needletail__V1__LeanVec: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__lean_vec__init(message) }
}
extension Needletail__V1__RescoreSpec: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__rescore_spec__init(message) }
}
extension Needletail__V1__VectorField: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__vector_field__init(message) }
}
extension Needletail__V1__Durability: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__durability__init(message) }
}
extension Needletail__V1__CreateCollectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__create_collection_request__init(message) }
}
extension Needletail__V1__Collection: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__collection__init(message) }
}
extension Needletail__V1__CodecStatus: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__codec_status__init(message) }
}
extension Needletail__V1__TrainCollectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__train_collection_request__init(message) }
}
extension Needletail__V1__GetCollectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_collection_request__init(message) }
}
extension Needletail__V1__ListCollectionsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_collections_request__init(message) }
}
extension Needletail__V1__ListCollectionsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_collections_response__init(message) }
}
extension Needletail__V1__UpdateCollectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__update_collection_request__init(message) }
}
extension Needletail__V1__DeleteCollectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_collection_request__init(message) }
}
extension Needletail__V1__DeleteCollectionResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_collection_response__init(message) }
}

// needletail/v1/points.proto
extension Needletail__V1__Point__VectorsEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__vectors_entry__init(message) }
}
extension Needletail__V1__Point__PayloadEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__payload_entry__init(message) }
}
extension Needletail__V1__Point: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point__init(message) }
}
extension Needletail__V1__WriteOptions: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__write_options__init(message) }
}
extension Needletail__V1__ReadOptions: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__read_options__init(message) }
}
extension Needletail__V1__UpsertRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__upsert_request__init(message) }
}
extension Needletail__V1__PackedPoints: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__packed_points__init(message) }
}
extension Needletail__V1__WriteResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__write_response__init(message) }
}
extension Needletail__V1__ShardSequence: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard_sequence__init(message) }
}
extension Needletail__V1__UpsertStreamResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__upsert_stream_response__init(message) }
}
extension Needletail__V1__PointParts: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__point_parts__init(message) }
}
extension Needletail__V1__StoredPoint__VectorsEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__vectors_entry__init(message) }
}
extension Needletail__V1__StoredPoint__PayloadEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__payload_entry__init(message) }
}
extension Needletail__V1__StoredPoint: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__stored_point__init(message) }
}
extension Needletail__V1__GetPointsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_points_request__init(message) }
}
extension Needletail__V1__GetPointsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__get_points_response__init(message) }
}
extension Needletail__V1__DeletePointsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_points_request__init(message) }
}
extension Needletail__V1__SetPayloadRequest__PayloadEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) {
        needletail__v1__set_payload_request__payload_entry__init(message)
    }
}
extension Needletail__V1__SetPayloadRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__set_payload_request__init(message) }
}
extension Needletail__V1__DeletePayloadRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__delete_payload_request__init(message) }
}
extension Needletail__V1__ScrollRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scroll_request__init(message) }
}
extension Needletail__V1__ScrollResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scroll_response__init(message) }
}
extension Needletail__V1__CountRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__count_request__init(message) }
}
extension Needletail__V1__CountResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__count_response__init(message) }
}
extension Needletail__V1__Query: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__query__init(message) }
}
extension Needletail__V1__SearchRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_request__init(message) }
}
extension Needletail__V1__ScoredPoint__VectorsEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__vectors_entry__init(message) }
}
extension Needletail__V1__ScoredPoint__PayloadEntry: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__payload_entry__init(message) }
}
extension Needletail__V1__ScoredPoint: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__scored_point__init(message) }
}
extension Needletail__V1__SearchWork: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_work__init(message) }
}
extension Needletail__V1__RecallEstimate: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__recall_estimate__init(message) }
}
extension Needletail__V1__SearchResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_response__init(message) }
}
extension Needletail__V1__SearchBatchRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_batch_request__init(message) }
}
extension Needletail__V1__SearchBatchResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_batch_response__init(message) }
}
extension Needletail__V1__SearchResult: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__search_result__init(message) }
}

// needletail/v1/cluster.proto
extension Needletail__V1__ClusterStatusRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cluster_status_request__init(message) }
}
extension Needletail__V1__ClusterStatusResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cluster_status_response__init(message) }
}
extension Needletail__V1__ListNodesRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_nodes_request__init(message) }
}
extension Needletail__V1__ListNodesResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_nodes_response__init(message) }
}
extension Needletail__V1__Coordinator: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__coordinator__init(message) }
}
extension Needletail__V1__Node: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__node__init(message) }
}
extension Needletail__V1__PlanRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__plan_request__init(message) }
}
extension Needletail__V1__PlanResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__plan_response__init(message) }
}
extension Needletail__V1__PlannedMove: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__planned_move__init(message) }
}
extension Needletail__V1__PlannedResharding: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__planned_resharding__init(message) }
}
extension Needletail__V1__MoveRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__move_request__init(message) }
}
extension Needletail__V1__MergeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__merge_request__init(message) }
}
extension Needletail__V1__SplitRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__split_request__init(message) }
}
extension Needletail__V1__CancelRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__cancel_request__init(message) }
}
extension Needletail__V1__DrainRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__drain_request__init(message) }
}
extension Needletail__V1__ForgetRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__forget_request__init(message) }
}

extension Needletail__V1__UndrainRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__undrain_request__init(message) }
}
extension Needletail__V1__PauseRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__pause_request__init(message) }
}
extension Needletail__V1__ResumeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__resume_request__init(message) }
}
extension Needletail__V1__ListOperationsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_operations_request__init(message) }
}
extension Needletail__V1__ListOperationsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_operations_response__init(message) }
}
extension Needletail__V1__Operation: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__operation__init(message) }
}
extension Needletail__V1__ListEventsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_events_request__init(message) }
}
extension Needletail__V1__ListEventsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_events_response__init(message) }
}
extension Needletail__V1__Event: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__event__init(message) }
}
extension Needletail__V1__ListShardsRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_shards_request__init(message) }
}
extension Needletail__V1__ListShardsResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_shards_response__init(message) }
}
extension Needletail__V1__Shard: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__shard__init(message) }
}
extension Needletail__V1__Replica: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__replica__init(message) }
}

// needletail/internal/v1/shard.proto
extension Needletail__Internal__V1__Empty: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__empty__init(message) }
}
extension Needletail__Internal__V1__ShardId: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__shard_id__init(message) }
}
extension Needletail__Internal__V1__Id: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__id__init(message) }
}
extension Needletail__Internal__V1__FieldVector: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__field_vector__init(message) }
}
extension Needletail__Internal__V1__ReadCondition: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__read_condition__init(message) }
}
extension Needletail__Internal__V1__Member: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__member__init(message) }
}
extension Needletail__Internal__V1__FenceRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__fence_request__init(message) }
}
extension Needletail__Internal__V1__HandOverRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__hand_over_request__init(message) }
}
extension Needletail__Internal__V1__SplitRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__split_request__init(message) }
}
extension Needletail__Internal__V1__SplitChild: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__split_child__init(message) }
}
extension Needletail__Internal__V1__SplitReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__split_reply__init(message) }
}
extension Needletail__Internal__V1__SplitProgress: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__split_progress__init(message) }
}
extension Needletail__Internal__V1__MergeRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__merge_request__init(message) }
}
extension Needletail__Internal__V1__MergeParent: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__merge_parent__init(message) }
}
extension Needletail__Internal__V1__MergeReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__merge_reply__init(message) }
}
extension Needletail__Internal__V1__MergeParentProgress: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__merge_parent_progress__init(message) }
}
extension Needletail__Internal__V1__NodeFacts: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__node_facts__init(message) }
}
extension Needletail__Internal__V1__FenceReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__fence_reply__init(message) }
}
extension Needletail__Internal__V1__FollowRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__follow_request__init(message) }
}
extension Needletail__Internal__V1__FollowStart: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__follow_start__init(message) }
}
extension Needletail__Internal__V1__FollowReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__follow_reply__init(message) }
}
extension Needletail__Internal__V1__Record: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__record__init(message) }
}
extension Needletail__Internal__V1__InSyncProposal: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__in_sync_proposal__init(message) }
}
extension Needletail__Internal__V1__Run: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__run__init(message) }
}
extension Needletail__Internal__V1__FollowAnswer: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__follow_answer__init(message) }
}
extension Needletail__Internal__V1__Resignation: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__resignation__init(message) }
}
extension Needletail__Internal__V1__LeasedEpoch: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__leased_epoch__init(message) }
}
extension Needletail__Internal__V1__CopyDescription: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__copy_description__init(message) }
}
extension Needletail__Internal__V1__CopiedFile: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__copied_file__init(message) }
}
extension Needletail__Internal__V1__ReadCopyRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__read_copy_request__init(message) }
}
extension Needletail__Internal__V1__CopyPiece: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__copy_piece__init(message) }
}
extension Needletail__Internal__V1__EndCopyRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__end_copy_request__init(message) }
}
extension Needletail__Internal__V1__DigestRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__digest_request__init(message) }
}
extension Needletail__Internal__V1__DigestReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__digest_reply__init(message) }
}
extension Needletail__Internal__V1__WriteRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__write_request__init(message) }
}
extension Needletail__Internal__V1__WriteReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__write_reply__init(message) }
}
extension Needletail__Internal__V1__Query: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__query__init(message) }
}
extension Needletail__Internal__V1__SearchRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_request__init(message) }
}
extension Needletail__Internal__V1__Scored: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scored__init(message) }
}
extension Needletail__Internal__V1__QueryResult: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__query_result__init(message) }
}
extension Needletail__Internal__V1__RecallEstimate: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__recall_estimate__init(message) }
}
extension Needletail__Internal__V1__ShardReport: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__shard_report__init(message) }
}
extension Needletail__Internal__V1__SearchReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_reply__init(message) }
}
extension Needletail__Internal__V1__SearchEachRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_each_request__init(message) }
}
extension Needletail__Internal__V1__TimedSearch: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__timed_search__init(message) }
}
extension Needletail__Internal__V1__SearchEachReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_each_reply__init(message) }
}
extension Needletail__Internal__V1__SearchOutcome: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__search_outcome__init(message) }
}
extension Needletail__Internal__V1__GetRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__get_request__init(message) }
}
extension Needletail__Internal__V1__Stored: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__stored__init(message) }
}
extension Needletail__Internal__V1__GetReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__get_reply__init(message) }
}
extension Needletail__Internal__V1__ScrollRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scroll_request__init(message) }
}
extension Needletail__Internal__V1__ScrollReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__scroll_reply__init(message) }
}
extension Needletail__Internal__V1__CountRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__count_request__init(message) }
}
extension Needletail__Internal__V1__CountReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__count_reply__init(message) }
}
extension Needletail__Internal__V1__Field: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__field__init(message) }
}
extension Needletail__Internal__V1__CollectionSpec: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__collection_spec__init(message) }
}
extension Needletail__Internal__V1__SampleRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__sample_request__init(message) }
}
extension Needletail__Internal__V1__SampleReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__sample_reply__init(message) }
}
extension Needletail__Internal__V1__TrainRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__train_request__init(message) }
}
extension Needletail__Internal__V1__TrainReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__train_reply__init(message) }
}
extension Needletail__Internal__V1__CodecProgress: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__codec_progress__init(message) }
}
extension Needletail__Internal__V1__Model: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__model__init(message) }
}
extension Needletail__Internal__V1__ReplicaAssignment: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__replica_assignment__init(message) }
}
extension Needletail__Internal__V1__ReplicaStatus: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__replica_status__init(message) }
}
extension Needletail__Internal__V1__NodeStatus: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__node_status__init(message) }
}
extension Needletail__Internal__V1__HeartbeatRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__heartbeat_request__init(message) }
}
extension Needletail__Internal__V1__HeartbeatReply: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__internal__v1__heartbeat_reply__init(message) }
}

// grpc/health/v1/health.proto
extension Grpc__Health__V1__HealthCheckRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__health__v1__health_check_request__init(message) }
}
extension Grpc__Health__V1__HealthCheckResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__health__v1__health_check_response__init(message) }
}

// grpc/reflection/v1/reflection.proto
extension Grpc__Reflection__V1__ServerReflectionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__server_reflection_request__init(message) }
}
extension Grpc__Reflection__V1__ExtensionRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__extension_request__init(message) }
}
extension Grpc__Reflection__V1__ServerReflectionResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) {
        grpc__reflection__v1__server_reflection_response__init(message)
    }
}
extension Grpc__Reflection__V1__FileDescriptorResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__file_descriptor_response__init(message) }
}
extension Grpc__Reflection__V1__ExtensionNumberResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__extension_number_response__init(message) }
}
extension Grpc__Reflection__V1__ListServiceResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__list_service_response__init(message) }
}
extension Grpc__Reflection__V1__ServiceResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__service_response__init(message) }
}
extension Grpc__Reflection__V1__ErrorResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { grpc__reflection__v1__error_response__init(message) }
}
