// Every metric there is; Docs/metrics.md has them in a table, and a test compares the two.

extension MetricDefinition {
    /// Of every process.
    public static let ofProcesses: [MetricDefinition] = [
        buildInfo, processStart, processCPU, processMemory, processThreads, processFiles, rpcDuration, rpcsHandled, rpcsUnderWay, spans,
        loopDelay, tlsExpiry, tlsReloads, tlsFailures,
    ]

    static let buildInfo = MetricDefinition("needletail_build_info", .gauge, labels: ["version"], "Always 1; the label says which version runs.")
    static let processStart = MetricDefinition("process_start_time_seconds", .gauge, "When the process started, in seconds since 1970.")
    static let processCPU = MetricDefinition("process_cpu_seconds_total", .counter, "Processor time that the process has used.")
    static let processMemory = MetricDefinition("process_resident_memory_bytes", .gauge, "Memory that the process holds.")
    static let processThreads = MetricDefinition("process_threads", .gauge, "Threads of the process.")
    static let processFiles = MetricDefinition("process_open_fds", .gauge, "Open files and connections.")

    static let rpcDuration = MetricDefinition(
        "needletail_rpc_server_duration_seconds", .histogram(secondsOfRequests), labels: ["service", "method"],
        "From the head of a request to the end of its answer; of streams, how long they were open.")
    static let rpcsHandled = MetricDefinition(
        "needletail_rpc_server_handled_total", .counter, labels: ["service", "method", "code"], "Calls that were answered, by gRPC status code.")
    static let rpcsUnderWay = MetricDefinition(
        "needletail_rpc_server_under_way", .gauge, labels: ["service", "method"], "Calls that wait for their answer.")

    public static let spans = MetricDefinition(
        "needletail_trace_spans_total", .counter, labels: ["result"],
        "Spans of traces: exported, dropped (the queue was full) or refused (the receiver did not take them, or was away at the end).")
    public static let loopDelay = MetricDefinition(
        "needletail_event_loop_delay_seconds", .histogram(secondsOfRequests),
        "What a task waits for the event loop that serves connections; probed four times a second.")
    public static let tlsExpiry = MetricDefinition(
        "needletail_tls_expiry_timestamp_seconds", .gauge, labels: ["file"],
        "When the first certificate of a file expires, in seconds since 1970: certificate, authority, client_authority, etcd_certificate and so on.")
    public static let tlsReloads = MetricDefinition(
        "needletail_tls_reloads_total", .counter, labels: ["result"],
        "Files of TLS that changed and were read again: loaded, or failed, when those of before stay in use.")
    public static let tlsFailures = MetricDefinition(
        "needletail_tls_handshakes_failed_total", .counter, "Connections to this process on which TLS failed; the log says why.")

    /// Of a shard worker.
    public static let ofWorkers: [MetricDefinition] = [
        replicas, replicaPoints, replicaMemory, replicaDisk, replicaData, replicaSequence, replicaIsPrimary, inSyncSize, replicationLag,
        sampledRecall, recallSamples, localDimension, poolQueue, poolThreads, poolJobs, poolBusy, searches, searchDistances, searchHops,
        searchDuration, searchWait, logBytes, logRecords, logCommits, logCommitSeconds, checkpoints, checkpointSeconds, memoryByPart,
    ]

    private static let ofShard = ["collection", "shard"]

    public static let replicas = MetricDefinition(
        "needletail_replicas", .gauge, labels: ["state"], "Replicas on this worker: loading, ready, read_only or failed.")
    public static let replicaPoints = MetricDefinition("needletail_replica_points", .gauge, labels: ofShard, "Points of a replica.")
    public static let replicaMemory = MetricDefinition("needletail_replica_memory_bytes", .gauge, labels: ofShard, "What a replica keeps in memory.")
    public static let replicaDisk = MetricDefinition(
        "needletail_replica_disk_bytes", .gauge, labels: ofShard, "What a replica keeps on disk: log, checkpoint, payloads, mapped vectors.")
    public static let replicaData = MetricDefinition(
        "needletail_replica_data_bytes", .gauge, labels: ofShard, "Vectors, graphs, codes and payloads of its points: what balance and splits by size go by.")
    public static let replicaSequence = MetricDefinition(
        "needletail_replica_applied_sequence", .counter, labels: ofShard, "Sequence number of the last write that searches see.")
    public static let replicaIsPrimary = MetricDefinition("needletail_replica_is_primary", .gauge, labels: ofShard, "1 where this worker leads the shard.")
    public static let inSyncSize = MetricDefinition(
        "needletail_in_sync_replicas", .gauge, labels: ofShard, "Size of the in-sync set, as its primary knows it.")
    public static let replicationLag = MetricDefinition(
        "needletail_replication_lag_records", .gauge, labels: ofShard, "Records that the backup furthest behind has not made durable, told by the primary.")
    public static let sampledRecall = MetricDefinition(
        "needletail_sampled_recall", .gauge, labels: ofShard, "Share of the true nearest points found, over real queries that were asked again exactly.")
    public static let recallSamples = MetricDefinition(
        "needletail_recall_samples_total", .counter, labels: ofShard, "Real queries that were asked again exactly.")
    public static let localDimension = MetricDefinition(
        "needletail_local_intrinsic_dimension", .gauge, labels: ofShard, "Mean local intrinsic dimension around sampled queries.")
    public static let memoryByPart = MetricDefinition(
        "needletail_memory_bytes", .gauge, labels: ["part"],
        "What replicas keep in memory, by part: rows (vectors), links, nodes and upper (levels above the first), codes, points, ids, payloads.")

    private static let ofPool = ["pool"]
    public static let poolQueue = MetricDefinition(
        "needletail_pool_queue_length", .gauge, labels: ofPool, "Requests that wait for a thread, of which a job may have several.")
    public static let poolThreads = MetricDefinition("needletail_pool_threads", .gauge, labels: ofPool, "Threads of a pool.")
    public static let poolJobs = MetricDefinition("needletail_pool_jobs_total", .counter, labels: ofPool, "Jobs done.")
    public static let poolBusy = MetricDefinition(
        "needletail_pool_busy_seconds_total", .counter, labels: ofPool,
        "Time that threads spent on jobs; its rate, divided by the threads, is how busy they are.")

    public static let searches = MetricDefinition(
        "needletail_shard_searches_total", .counter, labels: ["result"], "Queries answered by single shards: whole, truncated (by their deadline) or failed.")
    public static let searchDistances = MetricDefinition(
        "needletail_search_distances_total", .counter, "Distances computed for searches.")
    public static let searchHops = MetricDefinition("needletail_search_hops_total", .counter, "Nodes of graphs that searches expanded.")
    public static let searchDuration = MetricDefinition(
        "needletail_shard_search_duration_seconds", .histogram(secondsOfRequests), "One shard's part of a search request, without waiting for a thread.")

    public static let searchWait = MetricDefinition(
        "needletail_shard_search_wait_seconds", .histogram(secondsOfRequests), "What one shard's part of a search request waited for a thread.")

    public static let logBytes = MetricDefinition("needletail_log_written_bytes_total", .counter, "Written to the logs of replicas.")
    public static let logRecords = MetricDefinition("needletail_log_records_total", .counter, "Records written to the logs of replicas.")
    public static let logCommits = MetricDefinition("needletail_log_commits_total", .counter, "Groups of records made durable together.")
    public static let logCommitSeconds = MetricDefinition(
        "needletail_log_commit_seconds_total", .counter, "Time that commits took; divided by their number, what a write waits for the disk.")
    public static let checkpoints = MetricDefinition("needletail_checkpoints_total", .counter, labels: ["result"], "Checkpoints written, or failed.")
    public static let checkpointSeconds = MetricDefinition("needletail_checkpoint_seconds_total", .counter, "Time that checkpoints took.")

    /// Of a coordinator.
    public static let ofCoordinators: [MetricDefinition] = [
        isLeader, nodes, collections, collectionPoints, shards, replicasWanted, replicasInSync, operations, events, queries, partialAnswers, hedges,
        hedgesWon, retries, refusals, slowQueries, searchStages, auditFailures,
    ]

    public static let auditFailures = MetricDefinition(
        "needletail_audit_failures_total", .counter, "Lines of the audit log that could not be written.")
    public static let isLeader = MetricDefinition("needletail_coordinator_is_leader", .gauge, "1 where this coordinator leads the cluster.")
    public static let nodes = MetricDefinition(
        "needletail_nodes", .gauge, labels: ["state"], "Shard workers that are alive, silent or drained, as this coordinator sees them.")
    public static let collections = MetricDefinition("needletail_collections", .gauge, "Collections.")
    public static let collectionPoints = MetricDefinition(
        "needletail_collection_points", .gauge, labels: ["collection"], "Points of a collection, each counted once.")
    public static let shards = MetricDefinition(
        "needletail_shards", .gauge, labels: ["state"], "Shards that can be read and written (ready), and those that cannot (missing).")
    public static let replicasWanted = MetricDefinition(
        "needletail_collection_replicas_wanted", .gauge, labels: ["collection"], "Replicas that a collection should have over all its shards.")
    public static let replicasInSync = MetricDefinition(
        "needletail_collection_replicas_in_sync", .gauge, labels: ["collection"],
        "Those of them that have every acknowledged write and whose workers are alive.")
    public static let operations = MetricDefinition(
        "needletail_operations", .gauge, labels: ["kind"], "Moves, backups, restores, splits and merges under way.")
    public static let events = MetricDefinition("needletail_events_total", .counter, labels: ["kind"], "What this coordinator noted in the cluster's events.")
    public static let queries = MetricDefinition("needletail_queries_total", .counter, "Queries of clients, each of a batch counted.")
    public static let partialAnswers = MetricDefinition(
        "needletail_partial_answers_total", .counter, "Searches that were answered without all shards, since the client allowed it.")
    public static let hedges = MetricDefinition("needletail_hedged_requests_total", .counter, "Requests to a second replica, when the first took long.")
    public static let hedgesWon = MetricDefinition("needletail_hedged_requests_won_total", .counter, "Those of them that were quicker than the first.")
    public static let retries = MetricDefinition(
        "needletail_retried_requests_total", .counter, "Rounds of a search in which every replica of a shard had failed and all were asked again.")
    public static let slowQueries = MetricDefinition(
        "needletail_slow_queries_total", .counter, "Searches that took longer than --slow-query, logged or not.")
    public static let searchStages = MetricDefinition(
        "needletail_search_stage_duration_seconds", .histogram(secondsOfRequests), labels: ["stage"],
        "Stages of a search at its coordinator: plan (checks, names), gather (asking the shards, with hedges and retries), merge.")
    public static let refusals = MetricDefinition(
        "needletail_refused_requests_total", .counter, "Answers of shards that refused a search for overload.")
}
