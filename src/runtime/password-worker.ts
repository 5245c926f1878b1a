import { parentPort } from "node:worker_threads";
import { assert } from "../base/assert.ts";
import { messageOf } from "../base/errors.ts";
import { doPasswordWork, type PasswordWork } from "./password-work.ts";

/** The main file of a worker thread of node-passwords.ts. */
export type PasswordAnswer =
  | { readonly id: number; readonly result: string | boolean }
  | { readonly id: number; readonly failure: string };

assert(parentPort !== null, "this file is run as a worker thread");
const port = parentPort;

port.on("message", ({ id, work }: { id: number; work: PasswordWork }) => {
  let answer: PasswordAnswer;
  try {
    answer = { id, result: doPasswordWork(work) };
  } catch (error) {
    answer = { id, failure: messageOf(error) };
  }
  port.postMessage(answer);
});
