import { StringDecoder } from "node:string_decoder";
import { UsageError } from "./errors.ts";

const ENTER = new Set(["\r", "\n"]);
const END = "\x04";
const INTERRUPT = "\x03";
const BACKSPACE = new Set(["\b", "\x7f"]);

/** Asks at the terminal, where what is typed is not shown. */
export function askPassword(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY)
    throw new UsageError("a password must be asked for, and there is no terminal: give it with the name");
  stderr.write(prompt);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const decoder = new StringDecoder("utf8");
  let password = "";
  const done = (settle: () => void): void => {
    stdin.off("data", take).setRawMode(false).pause();
    stderr.write("\n");
    settle();
  };
  const take = (chunk: Buffer): void => {
    for (const character of decoder.write(chunk)) {
      if (ENTER.has(character) || character === END) {
        done(() => resolve(password));
        return;
      }
      if (character === INTERRUPT) {
        done(() => reject(new UsageError("interrupted")));
        return;
      }
      password = BACKSPACE.has(character) ? password.slice(0, -1) : password + character;
    }
  };
  stdin.setRawMode(true).on("data", take).resume();
  return promise;
}

/** Twice, as one cannot see what one types. */
export async function askNewPassword(name: string): Promise<string> {
  const password = await askPassword(`Password of ${name}: `);
  if (password === "") throw new UsageError("empty password");
  const again = await askPassword(`Type password of ${name} again for confirmation: `);
  if (again !== password) throw new UsageError("given passwords are different");
  return password;
}
