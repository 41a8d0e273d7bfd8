package uploads

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

// startStoring starts the span of the files of a batch, from the write of the last bytes
// to the end of Options.Stored, if ctx leads to a span. A batch without files has none.
func startStoring(ctx context.Context, batch []*publication) (context.Context, trace.Span) {
	if len(batch) == 0 {
		return ctx, trace.SpanFromContext(context.Background())
	}
	ctx, span := tracing.Start(ctx, "store file", "", trace.SpanKindInternal)
	if span.IsRecording() {
		span.SetAttributes(tracing.FileCount.Int(len(batch)))
	}
	return ctx, span
}

// endStoring ends the span of a batch. It is an error of the server if a file is not
// stored because of an internal error or of a full disk; err is that of the whole batch.
func endStoring(span trace.Span, batch []*publication, err error) {
	if !span.IsRecording() {
		return
	}
	for i, p := range batch {
		f := p.file()
		if i == 0 {
			span.SetAttributes(tracing.FileDirectory.String(f.Directory), tracing.FileName.String(f.Filename), tracing.FileSize.Int64(f.Size))
		}
		if err == nil && (f.Code == CodeInternal || f.Code == CodeNoSpace) {
			err = p.err
		}
	}
	tracing.End(span, err)
}
