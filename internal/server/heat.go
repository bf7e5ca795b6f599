package server

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/headrace/headrace/internal/auth/access"
	"github.com/headrace/headrace/internal/stream"
	"github.com/headrace/headrace/internal/wire"
)

// heatAction is the permission that it takes to see a stream's hot keys: they are parts of its records.
const heatAction = "kinesis:GetRecords"

// heatReport is the answer to how a stream's writes divide among its shards. Members are named as AWS's.
type heatReport struct {
	StreamName, StreamARN string
	Shards                []heatShard
}

type heatShard struct {
	ShardID                          string `json:"ShardId"`
	StartingHashKey, EndingHashKey   string
	BytesPerSecond, RecordsPerSecond float64
	Keys                             []heatKey
}

type heatKey struct {
	PartitionKey   string
	Cut            bool `json:",omitempty"`
	BytesPerSecond float64
	Share          float64
}

// heats answers which partition keys the shards of a stream get most of: the stream of the caller that the
// query names by stream, or one that its ARN names. It asks the permission to read the stream's records.
func heats(cfg Config, identify wire.Authenticator, decider *access.Decider, streams *stream.Streams) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bound(w, r)
		caller, err := signed(identify, w, r)
		if err != nil {
			page(w, http.StatusForbidden, err.Error()+"\n")
			return
		}
		sc := stream.Scope{Account: caller.Account, Region: caller.Region}
		ref := stream.Ref{Name: r.FormValue("stream"), ARN: r.FormValue("arn")}
		if !cfg.Access.AnyCredentials && cfg.Keys == nil {
			q := requestOf(r, caller.AccessKeyID, caller.SessionToken, caller.Region)
			q.Action, q.Resource = heatAction, streams.ARN(sc, ref)
			if q.Resource == "" {
				q.Resource = "*" // it names nothing that is, and hears so if it may know
			}
			owner, err := decider.Decide(q)
			if err != nil {
				refuseHeat(w, err)
				return
			}
			if owner != "" {
				sc.Account = owner
			}
		}
		heat, err := streams.Heat(sc, ref)
		if err != nil {
			refuseHeat(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(reportOf(heat)) // the client has gone if this fails
	})
}

// refuseHeat answers with an error's text.
func refuseHeat(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if refused, ok := errors.AsType[*stream.Error](err); ok {
		status = http.StatusBadRequest
		if refused.Kind == stream.NotFound {
			status = http.StatusNotFound
		}
		page(w, status, refused.Message+"\n")
		return
	}
	if _, ok := errors.AsType[*access.DeniedError](err); ok {
		status = http.StatusForbidden
	}
	page(w, status, err.Error()+"\n")
}

func reportOf(h stream.Heat) heatReport {
	report := heatReport{StreamName: h.Name, StreamARN: h.ARN, Shards: make([]heatShard, len(h.Shards))}
	for i, sh := range h.Shards {
		out := heatShard{
			ShardID: sh.ID, StartingHashKey: sh.HashKeyRange.Start.String(), EndingHashKey: sh.HashKeyRange.End.String(),
			BytesPerSecond: sh.BytesPerSecond, RecordsPerSecond: sh.RecordsPerSecond, Keys: make([]heatKey, len(sh.Keys)),
		}
		for k, key := range sh.Keys {
			out.Keys[k] = heatKey(key)
		}
		report.Shards[i] = out
	}
	return report
}
