// Package robustness, laid over etcd's own: the same clients, watchers and checks (porcupine, watch guarantees, replay),
// with kill -9 as the fault. What was persisted is read from the log in the store, where etcd's is read from its WAL.
package robustness

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"go.etcd.io/etcd/tests/v3/framework/e2e"
	"go.etcd.io/etcd/tests/v3/robustness/client"
	"go.etcd.io/etcd/tests/v3/robustness/failpoint"
	"go.etcd.io/etcd/tests/v3/robustness/identity"
	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
	"go.etcd.io/etcd/tests/v3/robustness/scenarios"
	"go.etcd.io/etcd/tests/v3/robustness/traffic"
	"go.etcd.io/etcd/tests/v3/robustness/validate"
)

// kills is etcd's own fault, several times in a row, with traffic between.
type kills struct{ times int }

func (kills) Name() string { return "Kills" }

func (kills) Available(e2e.EtcdProcessClusterConfig, e2e.EtcdProcess, traffic.Profile) bool {
	return true
}

func (k kills) Inject(
	ctx context.Context, t *testing.T, lg *zap.Logger, c *e2e.EtcdProcessCluster, base time.Time, ids identity.Provider,
) ([]report.ClientReport, error) {
	for i := range k.times {
		if i > 0 {
			time.Sleep(time.Second)
		}
		if _, err := failpoint.KillFailpoint.Inject(ctx, t, lg, c, base, ids); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func TestKilled(t *testing.T) {
	testRunner.BeforeTest(t)
	low := traffic.LowTraffic
	high := traffic.HighTrafficProfile
	low.MinimalQPS, high.MinimalQPS = 10, 10 // the machine may do other things as well
	for _, durability := range []string{"local", "object"} {
		for _, s := range []scenarios.TestScenario{
			{Name: "PutHigh", Traffic: traffic.EtcdPut, Profile: high},
			{Name: "PutDeleteLease", Traffic: traffic.EtcdPutDeleteLease, Profile: low},
			{Name: "Delete", Traffic: traffic.EtcdDelete, Profile: low.WithCompactionPeriod(100 * time.Millisecond)},
			{Name: "KubernetesHigh", Traffic: traffic.Kubernetes, Profile: high},
			{Name: "KubernetesLow", Traffic: traffic.Kubernetes, Profile: low},
			{Name: "KubernetesCreateDelete", Traffic: traffic.KubernetesCreateDelete, Profile: low.WithoutCompaction()},
			{Name: "Progress", Traffic: traffic.EtcdPutDeleteLease, Profile: low, Watch: client.WatchConfig{RequestProgress: true}},
		} {
			t.Run(durability+"/"+s.Name, func(t *testing.T) {
				lg := zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel))
				s.Failpoint = kills{3}
				s.Cluster = *e2e.NewConfig(
					e2e.WithClusterSize(1),
					e2e.WithExperimentalWatchProcessNotifyInterval(100*time.Millisecond),
				)
				s.Cluster.EnvVars = map[string]string{"T4_DURABILITY": durability}
				s.Cluster.Logger = zap.NewNop()
				ctx := t.Context()
				c, err := e2e.NewEtcdProcessCluster(ctx, t, e2e.WithConfig(&s.Cluster))
				require.NoError(t, err)
				defer func() {
					if c.Procs[0].IsRunning() {
						forcestopCluster(c)
					}
				}()
				reports := runScenario(ctx, t, s, lg, c)
				directory := c.Procs[0].Config().DataDirPath
				require.NoError(t, c.Procs[0].Stop()) // a clean stop uploads what the log still has to itself
				persisted, err := persistedIn(directory, reports)
				require.NoError(t, err)
				lg.Info("validating", zap.Int("persisted", len(persisted)), zap.Int64("revision", operationsMaxRevision(reports)))
				config := validate.Config{ExpectRevisionUnique: s.Traffic.ExpectUniqueRevision()}
				show := validate.ValidateAndReturnVisualize(t, lg, config, reports, persisted, time.Minute)
				if t.Failed() {
					path := os.Getenv("RESULTS_DIR")
					require.NoError(t, show(filepath.Join(path, strings.ReplaceAll(t.Name(), "/", "-")+".html")))
				}
			})
		}
	}
}

type logEntry struct {
	Space, Key, Value, Lease string
	Deleted                  bool
}

type logRecord struct {
	Number, Revision int64
	Kind             string
	Entries          []logEntry
}

type logSegment struct {
	Epoch   int64
	Fence   bool
	Records []logRecord
}

// readLog gives the records of a branch's log in their order. A segment of an epoch below one before it is void.
func readLog(directory string) ([]logRecord, error) {
	slots, err := filepath.Glob(filepath.Join(directory, "store", "branch", "*", "log", "*"))
	if err != nil {
		return nil, err
	}
	var segments []logSegment
	for first := 1; first <= len(slots); first += slotsAtOnce {
		shown, err := readSegments(directory, first, min(first+slotsAtOnce-1, len(slots)))
		if err != nil {
			return nil, err
		}
		segments = append(segments, shown...)
	}
	var records []logRecord
	var epoch int64
	for _, segment := range segments {
		if segment.Epoch < epoch {
			continue
		}
		epoch = segment.Epoch
		for _, record := range segment.Records {
			if n := len(records); n > 0 && record.Number != records[n-1].Number+1 {
				return nil, fmt.Errorf("record %d follows record %d", record.Number, records[n-1].Number)
			}
			records = append(records, record)
		}
	}
	return records, nil
}

const slotsAtOnce = 500

// readSegments fails where a slot is missing: they are dense from 1 on.
func readSegments(directory string, first, last int) ([]logSegment, error) {
	slots := fmt.Sprintf("%d-%d", first, last)
	show := exec.Command(os.Getenv("CONFORMANCE_T4"),
		"inspect", "segment", slots, "--json", "--store", "file://"+filepath.Join(directory, "store"))
	var errorText bytes.Buffer
	show.Stderr = &errorText
	text, err := show.Output()
	if err != nil {
		return nil, fmt.Errorf("slots %s: %w: %s", slots, err, errorText.String())
	}
	var segments []logSegment
	err = json.Unmarshal(text, &segments)
	return segments, err
}

// persistedIn gives the requests that made the records of the log. Records hold what was changed; the request that
// changes just that, in the state before it, is found among those that clients sent. A transaction that changed nothing
// is not in the log, and changes nothing in the replay.
func persistedIn(directory string, reports []report.ClientReport) ([]model.EtcdRequest, error) {
	records, err := readLog(directory)
	if err != nil {
		return nil, err
	}
	sent := sentRequests(reports)
	var persisted []model.EtcdRequest
	now, err := model.NewReplay(nil).StateForRevision(1)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		request, err := requestOf(record, now, sent)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", record.Number, err)
		}
		if request == nil {
			continue
		}
		now, _ = now.Step(*request)
		if now.Revision != record.Revision {
			return nil, fmt.Errorf("record %d has revision %d, the model %d", record.Number, record.Revision, now.Revision)
		}
		persisted = append(persisted, *request)
	}
	return persisted, nil
}

type sentByPut map[string][]model.EtcdRequest

func putName(key string, value model.ValueOrHash) string { return fmt.Sprintf("%s=%v", key, value) }

// sentRequests gives the transactions that were sent by each pair that they put, and by "" those that delete.
func sentRequests(reports []report.ClientReport) sentByPut {
	sent := sentByPut{}
	for _, r := range reports {
		for _, operation := range r.KeyValue {
			request := operation.Input.(model.EtcdRequest)
			if request.Type != model.Txn || request.IsRead() {
				continue
			}
			deletes := false
			for _, op := range append(append([]model.EtcdOperation{}, request.Txn.OperationsOnSuccess...), request.Txn.OperationsOnFailure...) {
				switch op.Type {
				case model.PutOperation:
					name := putName(op.Put.Key, op.Put.Value)
					sent[name] = append(sent[name], request)
				case model.DeleteOperation:
					deletes = true
				}
			}
			if deletes {
				sent[""] = append(sent[""], request)
			}
		}
	}
	return sent
}

func requestOf(record logRecord, now model.EtcdState, sent sentByPut) (*model.EtcdRequest, error) {
	switch record.Kind {
	case "transaction":
		return transactionOf(record, now, sent)
	case "leaseGrant":
		lease, err := leaseOf(record)
		return &model.EtcdRequest{Type: model.LeaseGrant, LeaseGrant: &model.LeaseGrantRequest{LeaseID: lease}}, err
	case "leaseRevoke":
		lease, err := leaseOf(record)
		return &model.EtcdRequest{Type: model.LeaseRevoke, LeaseRevoke: &model.LeaseRevokeRequest{LeaseID: lease}}, err
	case "compaction":
		for _, entry := range record.Entries {
			if entry.Space == "meta" && entry.Key == "compact" {
				revision, n := binary.Uvarint([]byte(textOf(entry.Value)))
				if n <= 0 {
					return nil, errors.New("a compaction without a revision")
				}
				return &model.EtcdRequest{Type: model.Compact, Compact: &model.CompactRequest{Revision: int64(revision)}}, nil
			}
		}
		return nil, errors.New("a compaction without its entry")
	case "leaseRelease":
		return nil, nil
	default:
		return nil, fmt.Errorf("unexpected kind %s", record.Kind)
	}
}

func transactionOf(record logRecord, now model.EtcdState, sent sentByPut) (*model.EtcdRequest, error) {
	changed := map[string]*model.ValueOrHash{}
	name := ""
	for _, entry := range record.Entries {
		if entry.Space != "keys" {
			continue
		}
		if entry.Deleted {
			changed[entry.Key] = nil
			continue
		}
		value := model.ToValueOrHash(textOf(entry.Value))
		changed[entry.Key] = &value
		name = putName(entry.Key, value)
	}
	for _, request := range sent[name] {
		if next, _ := now.Step(request); next.Revision == record.Revision && differsBy(now, next, changed) {
			return &request, nil
		}
	}
	return nil, fmt.Errorf("no client sent what changes %v at revision %d (%d candidates)", changed, record.Revision, len(sent[name]))
}

// differsBy tells whether what is new in a state is just what was changed.
func differsBy(before, after model.EtcdState, changed map[string]*model.ValueOrHash) bool {
	for key, value := range changed {
		found, there := after.KeyValues[key]
		if there != (value != nil) || there && (found.Value != *value || found.ModRevision != after.Revision) {
			return false
		}
	}
	for key := range before.KeyValues {
		if _, there := after.KeyValues[key]; !there {
			if _, told := changed[key]; !told {
				return false
			}
		}
	}
	for key, value := range after.KeyValues {
		if value.ModRevision == after.Revision {
			if _, told := changed[key]; !told {
				return false
			}
		}
	}
	return true
}

func leaseOf(record logRecord) (int64, error) {
	for _, entry := range record.Entries {
		if entry.Space == "leases" {
			lease, err := strconv.ParseUint(entry.Lease, 16, 64)
			return int64(lease), err
		}
	}
	return 0, errors.New("no lease in it")
}

func textOf(value string) string {
	if encoded, found := strings.CutPrefix(value, "base64:"); found {
		if bytes, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			return string(bytes)
		}
	}
	return value
}
