import { Option } from "commander";
import { askPassword } from "./ask-password.ts";

export interface LoginOptions {
  user?: string;
  password?: string;
}

export const loginOptions = (): Option[] => [
  new Option("--user <name[:password]>", "whom to log in as; without a password it is asked for").env("T4_USER"),
  new Option("--password <password>", "the password; --user is then the whole name").env("T4_PASSWORD"),
];

/** As etcdctl reads the two. */
export async function loginOf({
  user,
  password,
}: LoginOptions): Promise<{ login?: { name: string; password: string } }> {
  if (user === undefined || user === "") return {};
  if (password !== undefined && password !== "") return { login: { name: user, password } };
  const colon = user.indexOf(":");
  if (colon !== -1) return { login: { name: user.slice(0, colon), password: user.slice(colon + 1) } };
  return { login: { name: user, password: await askPassword("Password: ") } };
}
