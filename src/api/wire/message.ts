import type { Encodable } from "../../transport/transport.ts";
import type { Header } from "./headers.ts";
import {
  bigSize,
  boolSize,
  lengthDelimitedSize,
  signedSize,
  textSize,
  writeBig,
  writeBool,
  writeLength,
  writeSigned,
  writeText,
} from "./write.ts";

/**
 * A message put together field by field, for answers that are not asked for often. Fields are added in the order of
 * their
 * numbers, which stay below 16; zero values are left out, but for `always…`, which are elements of repeated fields
 * or messages.
 */
export class Message implements Encodable {
  readonly #writers: ((buffer: Buffer, at: number) => number)[] = [];
  #size = 0;

  byteLength(): number {
    return this.#size;
  }

  encodeInto(buffer: Buffer, at: number): number {
    for (const write of this.#writers) at = write(buffer, at);
    return at;
  }

  /** Field 1 of every etcd response. */
  header(header: Header, revision: number): this {
    return this.#add(header.size(revision), (buffer, at) => header.write(buffer, at, revision));
  }

  bool(field: number, value: boolean): this {
    return this.#add(boolSize(value), (buffer, at) => writeBool(buffer, at, field << 3, value));
  }

  number(field: number, value: number): this {
    return this.#add(signedSize(value), (buffer, at) => writeSigned(buffer, at, field << 3, value));
  }

  big(field: number, value: bigint): this {
    return this.#add(bigSize(value), (buffer, at) => writeBig(buffer, at, field << 3, value));
  }

  text(field: number, value: string): this {
    return this.#add(textSize(value), (buffer, at) => writeText(buffer, at, (field << 3) | 2, value));
  }

  /** A repeated field of strings. */
  texts(field: number, values: readonly string[]): this {
    for (const value of values) this.alwaysBytes(field, Buffer.from(value));
    return this;
  }

  alwaysBytes(field: number, value: Uint8Array): this {
    return this.#add(lengthDelimitedSize(value.length), (buffer, at) => {
      at = writeLength(buffer, at, (field << 3) | 2, value.length);
      buffer.set(value, at);
      return at + value.length;
    });
  }

  alwaysMessage(field: number, value: Message): this {
    const size = value.byteLength();
    return this.#add(lengthDelimitedSize(size), (buffer, at) =>
      value.encodeInto(buffer, writeLength(buffer, at, (field << 3) | 2, size)),
    );
  }

  #add(size: number, write: (buffer: Buffer, at: number) => number): this {
    if (size > 0) {
      this.#size += size;
      this.#writers.push(write);
    }
    return this;
  }
}
