package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next returns the next response that is not about creation.
func (w *world) next(channel clientv3.WatchChan) clientv3.WatchResponse {
	select {
	case response, ok := <-channel:
		w.that(ok, "the watch channel is open")
		return response
	case <-time.After(10 * time.Second):
		panic(broken{"nothing came on the watch channel for 10 s"})
	}
}

// events reads until that many came, as "PUT name=value@revision".
func (w *world) events(channel clientv3.WatchChan, count int) []string {
	var all []string
	for len(all) < count {
		response := w.next(channel)
		w.ok(response.Err(), "watch")
		for _, event := range response.Events {
			name := strings.TrimPrefix(string(event.Kv.Key), w.prefix)
			all = append(all, fmt.Sprintf("%s %s=%s@%d", event.Type, name, event.Kv.Value, event.Kv.ModRevision))
		}
	}
	return all
}

var watchCases = []testCase{
	{"watch: live, history, previous values, filters", func(w *world) {
		live := w.Watch(w, w.prefix, clientv3.WithPrefix(), clientv3.WithPrevKV())
		first := w.put("a", "1")
		w.put("a", "2")
		_, err := w.Delete(w, w.key("a"))
		w.ok(err, "delete")
		put, change := w.next(live), w.next(live)
		w.that(put.Events[0].IsCreate() && put.Events[0].PrevKv == nil, "the first put creates")
		w.that(change.Events[0].IsModify() && string(change.Events[0].PrevKv.Value) == "1", "the second one changes")
		gone := w.next(live).Events[0]
		w.that(gone.Type == clientv3.EventTypeDelete && string(gone.PrevKv.Value) == "2", "then it is deleted")
		want := []string{
			fmt.Sprintf("PUT a=1@%d", first), fmt.Sprintf("PUT a=2@%d", first+1), fmt.Sprintf("DELETE a=@%d", first+2),
		}
		history := w.Watch(w, w.key("a"), clientv3.WithRev(first))
		w.equal(w.events(history, 3), want, "history")
		deletes := w.Watch(w, w.key("a"), clientv3.WithRev(first), clientv3.WithFilterPut())
		w.equal(w.events(deletes, 1), want[2:], "without puts")
	}},
	{"watch: one transaction, one response", func(w *world) {
		channel := w.Watch(w, w.prefix, clientv3.WithPrefix())
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(w.key(fmt.Sprintf("%02d", i)), strings.Repeat("x", 10000)))
		}
		answer, err := w.Txn(w).Then(ops...).Commit()
		w.ok(err, "txn")
		w.equal(len(w.next(channel).Events), 100, "events")
		fragments := w.Watch(w, w.prefix, clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithRev(answer.Header.Revision))
		w.equal(len(w.events(fragments, 100)), 100, "events in fragments")
	}},
	{"watch: goes on after the connection was lost, without a gap", func(w *world) {
		between := w.proxy()
		client := w.dial(between.address())
		channel := client.Watch(clientv3.WithRequireLeader(w), w.prefix, clientv3.WithPrefix())
		var want []string
		for i := range 30 {
			if i%10 == 5 {
				between.cut()
			}
			want = append(want, fmt.Sprintf("PUT k=%d@%d", i, w.put("k", fmt.Sprint(i))))
		}
		w.equal(w.events(channel, 30), want, "events")
	}},
	{"watch: what was compacted is told", func(w *world) {
		first := w.put("k", "1")
		w.put("k", "2")
		last := w.put("k", "3")
		_, err := w.Compact(w, last)
		w.ok(err, "compact")
		channel := w.Watch(w, w.key("k"), clientv3.WithRev(first))
		response := w.next(channel)
		w.fails(response.Err(), rpctypes.ErrCompacted, "watch")
		w.equal(response.CompactRevision, last, "compact revision")
		_, open := <-channel
		w.that(!open, "the channel is closed")
		w.equal(w.events(w.Watch(w, w.key("k"), clientv3.WithRev(last)), 1), []string{fmt.Sprintf("PUT k=3@%d", last)}, "at the compacted revision")
	}},
	{"watch: progress on request", func(w *world) {
		ctx := clientv3.WithRequireLeader(w)
		channel := w.Watch(ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithProgressNotify())
		for range 20 {
			rev := w.put("k", "v")
			w.ok(w.RequestProgress(ctx), "request")
			w.equal(w.next(channel).Events[0].Kv.ModRevision, rev, "the event comes first")
			for {
				response := w.next(channel)
				w.that(response.IsProgressNotify(), "then the progress")
				if response.Header.Revision >= rev {
					break
				}
			}
		}
	}},
	{"watch: 300 watchers on a client, cancelled one by one", func(w *world) {
		channels := make([]clientv3.WatchChan, 300)
		cancels := make([]context.CancelFunc, 300)
		for i := range channels {
			var ctx context.Context
			ctx, cancels[i] = context.WithCancel(w)
			channels[i] = w.Watch(ctx, w.key(fmt.Sprint(i%100)))
		}
		rev := w.put("7", "x")
		for _, i := range []int{7, 107, 207} {
			w.equal(w.events(channels[i], 1), []string{fmt.Sprintf("PUT 7=x@%d", rev)}, "events")
		}
		for i, cancel := range cancels {
			if i != 107 {
				cancel()
			}
		}
		_, open := <-channels[7]
		w.that(!open, "a cancelled one is closed")
		rev = w.put("7", "y")
		w.equal(w.events(channels[107], 1), []string{fmt.Sprintf("PUT 7=y@%d", rev)}, "the one that is left")
		cancels[107]()
	}},
	{"watch: an empty range is refused, the stream goes on", func(w *world) {
		refused := w.Watch(w, w.key("b"), clientv3.WithRange(w.key("a")))
		response, open := <-refused
		w.that(!open || response.Err() != nil, "refused")
		channel := w.Watch(w, w.key("k"))
		rev := w.put("k", "v")
		w.equal(w.events(channel, 1), []string{fmt.Sprintf("PUT k=v@%d", rev)}, "another one")
	}},
}
