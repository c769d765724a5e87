public import NeedletailCore

/// Index specs that are worth a try, the likeliest first.
public enum TuningCandidates {
    /// At most 18, each once and all legal for the field.
    public static func specs(dimensions: Int, metric: Metric, element: VectorElement) -> [IndexSpec] {
        var texts = ["none", "lvq8", "lvq4x8"]
        if dimensions >= 64 { texts += ["leanvec\(dimensions / 2),lvq8", "leanvec\(dimensions / 4),lvq8"] }
        texts += ["lvq4", "rabitq4", "rabitq2", "rabitq1", "hnsw(m=32),lvq8", "hnsw(m=8),lvq8"]
        for part in [4, 8, 16] where dimensions >= 4 * part { texts.append("pq\(min(CodecSpec.subspaces.upperBound, dimensions / part))") }
        if dimensions >= 64 { texts += ["hnsw(m=8),lvq4", "pq\(min(CodecSpec.subspaces.upperBound, dimensions / 4))x4", "rq8"] }
        var seen: Set<IndexSpec> = []
        return texts.compactMap { text in
            guard let spec = try? IndexSpec(text: text) else { return nil }
            guard (try? spec.validate(field: "v", dimensions: dimensions, metric: metric, element: element)) != nil else { return nil }
            return seen.insert(spec).inserted ? spec : nil
        }
    }
}
