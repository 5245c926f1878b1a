package main

import (
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/zap"
)

func (w *world) kubernetes() kubernetes.Interface {
	client, err := kubernetes.New(clientv3.Config{Endpoints: []string{w.endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	w.ok(err, "dial")
	w.closers = append(w.closers, func() { client.Close() })
	return client.Kubernetes
}

var kubernetesCases = []testCase{
	{"kubernetes: optimistic puts and deletes (KA7-KA9)", func(w *world) {
		store := w.kubernetes()
		key := w.key("pods/a")
		created, err := store.OptimisticPut(w, key, []byte("1"), 0, kubernetes.PutOptions{})
		w.ok(err, "create")
		w.that(created.Succeeded, "created")
		again, err := store.OptimisticPut(w, key, []byte("x"), 0, kubernetes.PutOptions{GetOnFailure: true})
		w.ok(err, "create again")
		w.that(!again.Succeeded && again.KV.ModRevision == created.Revision, "it is there")
		changed, err := store.OptimisticPut(w, key, []byte("2"), created.Revision, kubernetes.PutOptions{GetOnFailure: true})
		w.ok(err, "update")
		w.that(changed.Succeeded && changed.Revision == created.Revision+1, "updated")
		stale, err := store.OptimisticPut(w, key, []byte("3"), created.Revision, kubernetes.PutOptions{GetOnFailure: true})
		w.ok(err, "stale update")
		w.that(!stale.Succeeded && string(stale.KV.Value) == "2" && stale.Revision == changed.Revision, "a conflict")
		kept, err := store.OptimisticDelete(w, key, created.Revision, kubernetes.DeleteOptions{GetOnFailure: true})
		w.ok(err, "stale delete")
		w.that(!kept.Succeeded && string(kept.KV.Value) == "2", "a conflict")
		gone, err := store.OptimisticDelete(w, key, changed.Revision, kubernetes.DeleteOptions{})
		w.ok(err, "delete")
		w.that(gone.Succeeded, "deleted")
		got, err := store.Get(w, key, kubernetes.GetOptions{})
		w.ok(err, "get")
		w.that(got.KV == nil && got.Revision == gone.Revision, "none")
	}},
	{"kubernetes: lists in pages at one revision, counts (KA2, KA4)", func(w *world) {
		store := w.kubernetes()
		for i := range 25 {
			w.put(fmt.Sprintf("pods/%02d", i), fmt.Sprint(i))
		}
		prefix := w.key("pods/")
		page, err := store.List(w, prefix, kubernetes.ListOptions{Limit: 10})
		w.ok(err, "list")
		w.equal([]any{len(page.Kvs), page.Count}, []any{10, int64(25)}, "first page")
		first := page.Revision
		w.put("pods/055", "added meanwhile")
		seen := len(page.Kvs)
		for seen < 25 {
			last := string(page.Kvs[len(page.Kvs)-1].Key)
			page, err = store.List(w, prefix, kubernetes.ListOptions{Limit: 10, Revision: first, Continue: last + "\x00"})
			w.ok(err, "list")
			w.equal(page.Count, int64(25-seen), "what remains")
			seen += len(page.Kvs)
		}
		w.equal(seen, 25, "all")
		count, err := store.Count(w, prefix, kubernetes.CountOptions{})
		w.ok(err, "count")
		w.equal(count, int64(26), "count")
		_, err = w.Compact(w, page.Revision)
		w.ok(err, "compact")
		_, err = store.List(w, prefix, kubernetes.ListOptions{Revision: first})
		w.fails(err, rpctypes.ErrCompacted, "list of what is compacted")
	}},
	{"kubernetes: a watch cache (KA12, KA13): bookmarks never overtake events", func(w *world) {
		ctx := clientv3.WithRequireLeader(w)
		prefix := w.key("pods/")
		list, err := w.kubernetes().List(w, prefix, kubernetes.ListOptions{})
		w.ok(err, "list")
		channel := w.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(list.Revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
		var last int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 200 {
				if answer, err := w.Put(w, fmt.Sprintf("%s%d", prefix, i%7), fmt.Sprint(i)); err == nil {
					last = answer.Header.Revision
				}
			}
		}()
		events, bookmark := 0, int64(0)
		for finished := false; !finished || bookmark < last; {
			select {
			case <-done:
				finished, done = true, nil
			default:
			}
			w.ok(w.RequestProgress(ctx), "request")
			response := w.next(channel)
			w.ok(response.Err(), "watch")
			for _, event := range response.Events {
				events++
				w.that(event.Kv.ModRevision > bookmark, "no event at or below a bookmark")
				w.that(event.IsCreate() == (event.PrevKv == nil), "a change has its previous value")
			}
			if response.IsProgressNotify() {
				w.that(response.Header.Revision >= bookmark, "bookmarks do not go back")
				bookmark = response.Header.Revision
			}
		}
		w.equal(events, 200, "events")
	}},
	{"kubernetes: the compactor (KA10)", func(w *world) {
		key := w.key("compact_rev_key")
		rev := w.put("k", "v")
		elect := func(version int64) (*clientv3.TxnResponse, error) {
			return w.Txn(w).If(clientv3.Compare(clientv3.Version(key), "=", version)).
				Then(clientv3.OpPut(key, fmt.Sprint(rev))).Else(clientv3.OpGet(key)).Commit()
		}
		won, err := elect(0)
		w.ok(err, "txn")
		w.that(won.Succeeded, "won")
		lost, err := elect(0)
		w.ok(err, "txn")
		w.that(!lost.Succeeded && lost.Responses[0].GetResponseRange().Kvs[0].Version == 1, "lost")
		_, err = w.Compact(w, won.Header.Revision)
		w.ok(err, "compact")
	}},
}
