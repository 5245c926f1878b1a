/** A source as the rules see it: comments and the contents of strings are not code. */
export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly text: string;
  /** As `text`, of the same length and with the same lines; comments and the insides of strings are blanks. */
  readonly code: string;
  readonly imports: readonly Import[];
}

export interface Import {
  /** As written: "./x.ts", "node:fs". */
  readonly from: string;
  readonly line: number;
  /** "import { a, b as c }" gives a and b; "* as x", a default and "import()" give "*". */
  readonly names: readonly string[];
  readonly reExport: boolean;
}

export function sourceFile(path: string, text: string): SourceFile {
  const { code, strings } = mask(text);
  return { path, text, code, imports: findImports(text, code, strings) };
}

export const lineOf = (text: string, at: number): number => text.slice(0, at).split("\n").length;

/** `strings`: where each plain string literal begins (its quote) and ends (behind its closing quote). */
function mask(text: string): { code: string; strings: Map<number, number> } {
  const code = text.split("");
  const strings = new Map<number, number>();
  /** Depth of braces within each `${` that is open. */
  const templates: number[] = [];
  let at = 0;

  const blank = (from: number, to: number): void => {
    for (let n = from; n < to; n++) if (code[n] !== "\n") code[n] = " ";
  };
  /** Goes on behind a part that ends in `closing`, or at the end of the text. */
  const skipTo = (closing: string, from: number): number => {
    const end = text.indexOf(closing, from);
    return end < 0 ? text.length : end;
  };
  /** Behind a string or regular expression whose closing character is the next one of `closing` without a backslash. */
  const skipQuoted = (closing: string, from: number): number => {
    let inClass = false;
    for (let n = from; n < text.length; n++) {
      const c = text[n]!;
      if (c === "\\") n++;
      else if (c === "\n") return n;
      else if (closing === "/" && c === "[") inClass = true;
      else if (closing === "/" && c === "]") inClass = false;
      else if (c === closing && !inClass) return n;
    }
    return text.length;
  };
  /** From within a template to its end or to the next `${`. */
  const skipTemplate = (from: number): number => {
    for (let n = from; n < text.length; n++) {
      if (text[n] === "\\") {
        n++;
        continue;
      }
      const closes = text[n] === "`";
      const opens = text[n] === "$" && text[n + 1] === "{";
      if (!closes && !opens) continue;
      if (opens) templates.push(0);
      blank(from, n);
      return n + (opens ? 2 : 1);
    }
    return text.length;
  };

  while (at < text.length) {
    const c = text[at]!;
    const two = text.slice(at, at + 2);
    if (two === "//") {
      const end = skipTo("\n", at);
      blank(at, end);
      at = end;
    } else if (two === "/*") {
      const end = Math.min(text.length, skipTo("*/", at + 2) + 2);
      blank(at, end);
      at = end;
    } else if (c === '"' || c === "'") {
      const end = skipQuoted(c, at + 1);
      strings.set(at, end + 1);
      blank(at + 1, end);
      at = end + 1;
    } else if (c === "`") {
      at = skipTemplate(at + 1);
    } else if (c === "/" && beginsRegularExpression(code, at)) {
      const end = skipQuoted("/", at + 1);
      blank(at + 1, end);
      at = end + 1;
    } else if (c === "}" && templates.at(-1) === 0) {
      templates.pop();
      at = skipTemplate(at + 1);
    } else {
      const depth = templates.length - 1;
      if (depth >= 0 && c === "{") templates[depth]!++;
      if (depth >= 0 && c === "}") templates[depth]!--;
      at++;
    }
  }
  return { code: code.join(""), strings };
}

/** A slash behind a value divides; behind anything else it begins a regular expression. */
function beginsRegularExpression(code: readonly string[], at: number): boolean {
  let before = at - 1;
  while (before >= 0 && /\s/.test(code[before]!)) before--;
  if (before < 0) return true;
  if (/[)\]}"'`]/.test(code[before]!)) return false;
  if (!/[\w$]/.test(code[before]!)) return true;
  let start = before;
  while (start > 0 && /[\w$]/.test(code[start - 1]!)) start--;
  return /^(return|typeof|case|in|of|do|else|void|delete|throw|await|yield)$/.test(
    code.slice(start, before + 1).join(""),
  );
}

const STATEMENT = /\b(import|export)\b(?:(\s*\()|([^;"'`()=]*?\bfrom)?\s*)(?=")/g;

function findImports(text: string, code: string, strings: ReadonlyMap<number, number>): Import[] {
  const found: Import[] = [];
  for (const match of code.matchAll(STATEMENT)) {
    const [whole, keyword, call, clause] = match;
    const quote = match.index + whole.length;
    const end = strings.get(quote);
    if (end === undefined || (keyword === "export" && clause === undefined)) continue;
    const names = call !== undefined ? ["*"] : importedNames(clause ?? "");
    const from = text.slice(quote + 1, end - 1);
    found.push({ from, line: lineOf(text, match.index), names, reExport: keyword === "export" });
  }
  return found;
}

function importedNames(clause: string): string[] {
  const names: string[] = [];
  const braces = /\{([^}]*)\}/.exec(clause);
  for (const part of braces?.[1]?.split(",") ?? []) {
    const name = part
      .trim()
      .replace(/^type\s+/, "")
      .split(/\s+/)[0];
    if (name !== undefined && name !== "") names.push(name);
  }
  const rest = clause
    .replace(/\{[^}]*\}/, "")
    .replace(/\bfrom\b|\btype\b|,/g, "")
    .trim();
  if (rest !== "") names.push("*");
  return names;
}
