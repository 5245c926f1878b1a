/** Code blocks of a page in Markdown, by their language. */
export interface Block {
  language: string;
  text: string;
  /** The heading that it stands under. */
  heading: string;
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let open: Block | null = null;
  for (const line of markdown.split("\n")) {
    const fence = /^```(\w*)$/.exec(line);
    if (open === null && fence !== null) open = { language: fence[1]!, text: "", heading };
    else if (open !== null && line === "```") {
      blocks.push(open);
      open = null;
    } else if (open !== null) open.text += `${line}\n`;
    else if (line.startsWith("#")) heading = line.replace(/^#+ /, "");
  }
  return blocks;
}
