/**
 * Bounds of the wire path that no setting changes. Each is far above what a well-behaved client does and low enough
 * that a hostile one costs little; what passes a bound has a named reason in `TransportStats.refused`.
 */

/** Our SETTINGS_MAX_FRAME_SIZE is the protocol's default, and no peer may refuse frames of this size. */
export const FRAME_BYTES_MAX = 16384;

/** SETTINGS_HEADER_TABLE_SIZE is left at the protocol's default. */
export const HEADER_TABLE_BYTES = 4096;

/** Decoded size of a header list (RFC 9113 §6.5.2: name + value + 32 for each field). Room for tokens of many KiB. */
export const HEADER_LIST_BYTES_MAX = 65536;

/** Encoded size of one header block, over all its frames. */
export const HEADER_BLOCK_BYTES_MAX = 65536;

/** CONTINUATION frames of one header block; a block of the largest size needs 4. */
export const CONTINUATION_FRAMES_MAX = 32;

/** What a client may send on one stream, and on all of a connection, before we say that we have taken it. */
export const STREAM_WINDOW_BYTES = 1 << 20;
export const CONNECTION_WINDOW_BYTES = 8 << 20;

/**
 * Bytes of a connection that wait for paused streams; past this the connection's window stays closed until they resume.
 */
export const HELD_BYTES_MAX = 16 << 20;

/** What the unfinished messages of one connection may hold, in messages of the largest size, and at least in bytes. */
export const ASSEMBLY_MESSAGES_MAX = 64;
export const ASSEMBLY_BYTES_MIN = 16 << 20;
/** The same over all connections; past it the connection that holds most gives up what it has. */
export const ASSEMBLY_BYTES_TOTAL_MAX = 256 << 20;

/** What an open stream takes of memory beside its request's header list: about so much, with who works for it. */
export const STREAM_BYTES = 2048;
/**
 * Open streams and their header lists on all connections; while they take more, a connection may have no more than the
 * share.
 */
export const STREAMS_BYTES_TOTAL_MAX = 512 << 20;
export const STREAMS_BYTES_SHARE = 256 << 10;

/**
 * Work that one connection may cause in one turn of the event loop, in microseconds as they are thought to be: it is
 * read on in the next one, so that who sends without a pause delays others by no more than this.
 */
export const TURN_COST_MAX = 3_000;
export const TurnCost = { frame: 1, call: 20, message: 4, block: 4 } as const;
/** One for so many bytes. */
export const TURN_COST_DATA_BYTES = 2048;
export const TURN_COST_UNPACKED_BYTES = 512;
export const TURN_COST_ANSWER_BYTES = 512;

/** Bytes handed to the socket and not yet taken by the system, past which responses stay in their streams' queues. */
export const SOCKET_BACKLOG_BYTES_MAX = 1 << 20;

/** DATA of queued responses that a connection sends in one turn of the event loop: less than a millisecond of work. */
export const TURN_BYTES_MAX = 256 << 10;

/**
 * Responses that wait in the queues of all connections and in their sockets; while there are more, a connection may
 * have no more than the share, in each: many slow readers, each within its own bound, must not fill the memory. At
 * twice the bound, which takes thousands that hold one answer each, the slowest ones are cut off.
 */
export const QUEUED_BYTES_TOTAL_MAX = 256 << 20;
export const QUEUED_BYTES_SHARE = 128 << 10;

/** Whoever has taken nothing for so long is cut off before others. */
export const UNSENT_SLOW_MS = 1_000;

/** Streams that wait for room, looked at in one turn of a connection. */
export const ROOM_WAITERS_PER_TURN = 16;

/** Time from a connection's start to its complete preface and first SETTINGS, or to its first HTTP/1.1 request line. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Time for a header block that has begun to be complete, in HTTP/1.1 and HTTP/2. */
export const HEADERS_TIMEOUT_MS = 10_000;

/**
 * A request being received, a response being sent, or a socket being written, that makes no progress for this long
 * ends.
 */
export const STALL_TIMEOUT_MS = 60_000;

/**
 * Time for the body of a request, from its head on, and for a message of a stream, from its first byte on: what
 * trickles in holds memory for no longer.
 */
export const BODY_TIMEOUT_MS = 300_000;

/** An HTTP/1.1 connection without a request. */
export const HTTP1_IDLE_TIMEOUT_MS = 120_000;

/** HTTP/1.1 request line and header fields. */
export const HTTP1_HEAD_BYTES_MAX = 32768;
export const HTTP1_FIELDS_MAX = 200;

/** After a GOAWAY or a refused request we go on reading for this long, so that the peer gets to see why. */
export const LINGER_MS = 1_000;

/** A server's `draining` GOAWAY promises to take what was sent before it arrived; after this long that is over. */
export const DRAIN_GRACE_MS = 2_000;

/** Streams that were answered before their request was complete: their late frames are passed over in silence. */
export const EARLY_CLOSED_MAX = 256;

/** grpc-message and debug texts, before percent-encoding. */
export const STATUS_MESSAGE_BYTES_MAX = 4096;
