public import Testing

extension Trait where Self == TimeLimitTrait {
    /// A test that hangs fails in the end. Far beyond what any takes: tests share a few threads, and one may wait minutes for others that compute.
    public static var watchedForHangs: Self { .timeLimit(.minutes(10)) }
}
