//! The words of a file and of all that it imports, as one stream.
//!
//! An import is replaced by the words of what it names, wherever it stands: at the top, among directives or within one. What is
//! imported need not be whole: a file may open a brace that another closes. Nothing in a file can make this go on for ever:
//! nothing imports itself, imports and words are counted, and a file is read once however often it is imported.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    Error, Files, Position, Sources, Token, Warning,
    go::read_error,
    lexer::{Kind, Word, words},
    variables::{LONGEST, replace},
};

/// How often snippets may be imported (`coredns/caddy`).
const SNIPPETS: usize = 10_000;
/// How often files may be imported (`coredns/caddy`).
const FILES: usize = 100_000;
/// How many words a configuration may have when all is imported.
const WORDS: usize = 1_000_000;
/// How long all words may be together when variables have been replaced, bytes.
const TEXT: usize = 32 << 20;
/// How long all imported files may be together, bytes.
const BYTES: usize = 16 << 20;

/// What is being read.
pub(super) struct Stream<'a> {
    files: &'a dyn Files,
    main: Arc<str>,
    frames: Vec<Frame>,
    snippets: HashMap<String, Arc<[Word]>>,
    /// Imported files that have been read.
    read: HashMap<PathBuf, Arc<[Word]>>,
    /// The last word that was taken.
    last: Option<Word>,
    /// Where the quote begins that is never ended.
    unclosed: Option<Position>,
    folders: BTreeSet<PathBuf>,
    /// Words that were taken, and the bytes of those that were replaced.
    taken: usize,
    text: usize,
    /// Words and bytes of imported files.
    lexed: usize,
    bytes: usize,
    snippet_imports: usize,
    file_imports: usize,
    pub(super) warnings: Vec<Warning>,
}

/// A file or snippet whose words are still to be taken.
struct Frame {
    words: Arc<[Word]>,
    next: usize,
    origin: Origin,
    /// The frame that imports it.
    parent: Option<usize>,
}

#[derive(PartialEq, Eq)]
enum Origin {
    Main,
    File(PathBuf),
    Snippet(String),
}

impl<'a> Stream<'a> {
    pub(super) fn new(name: &str, text: &str, files: &'a dyn Files) -> Self {
        let main: Arc<str> = name.into();
        let (lexed, unclosed) = words(&main, text, WORDS);
        Self {
            files,
            main,
            frames: vec![Frame { words: lexed.into(), next: 0, origin: Origin::Main, parent: None }],
            snippets: HashMap::new(),
            read: HashMap::new(),
            last: None,
            unclosed,
            folders: BTreeSet::new(),
            taken: 0,
            text: 0,
            lexed: 0,
            bytes: 0,
            snippet_imports: 0,
            file_imports: 0,
            warnings: Vec::new(),
        }
    }

    /// The next word, wherever it comes from.
    pub(super) fn peek(&mut self) -> Option<&Word> {
        // Only here are frames left: within a line they are still wanted, to know what an import is imported by.
        while self.frames.last().is_some_and(|frame| frame.next >= frame.words.len()) {
            self.frames.pop();
        }
        let frame = self.frames.last()?;
        frame.words.get(frame.next)
    }

    /// The next word, if it stands on the line of the last one.
    pub(super) fn peek_on_line(&self) -> Option<&Word> {
        let frame = self.frames.last()?;
        frame.words.get(frame.next).filter(|word| !word.starts_line)
    }

    /// Takes the next word as it was written.
    ///
    /// # Errors
    /// When there is none, or there have been too many.
    pub(super) fn take_raw(&mut self) -> Result<Word, Error> {
        let Some(word) = self.peek().cloned() else { return Err(self.ended()) };
        if let Some(frame) = self.frames.last_mut() {
            frame.next += 1;
        }
        self.taken += 1;
        if self.taken > WORDS {
            return Err(word.token.error(format!("a configuration of more than {WORDS} words")));
        }
        self.last = Some(word.clone());
        Ok(word)
    }

    /// Takes the next word, its variables replaced.
    ///
    /// # Errors
    /// When there is none, or there have been too many.
    pub(super) fn take(&mut self) -> Result<Word, Error> {
        let mut word = self.take_raw()?;
        self.replace(&mut word.token)?;
        Ok(word)
    }

    /// Replaces the variables of a word.
    ///
    /// # Errors
    /// When it becomes too long.
    pub(super) fn replace(&mut self, token: &mut Token) -> Result<(), Error> {
        match replace(&token.text, self.files) {
            Some(Cow::Owned(text)) => token.text = text,
            Some(Cow::Borrowed(_)) => {}
            None => return Err(token.error(format!("a word of more than {LONGEST} bytes"))),
        }
        self.text = self.text.saturating_add(token.text.len());
        if self.text > TEXT {
            return Err(token.error(format!("a configuration with words of more than {TEXT} bytes")));
        }
        Ok(())
    }

    /// Whether the last word that was taken is a closing brace.
    pub(super) fn closed(&self) -> bool {
        self.last.as_ref().is_some_and(|word| word.kind == Kind::Close)
    }

    /// The last word that was taken.
    pub(super) fn last(&self) -> Token {
        let nothing =
            || Token { text: String::new(), at: Position { file: Arc::clone(&self.main), line: 1 } };
        self.last.as_ref().map_or_else(nothing, |word| word.token.clone())
    }

    /// The error of an end where something has to follow.
    pub(super) fn ended(&self) -> Error {
        self.explained(self.last().error("Unexpected EOF"))
    }

    /// An error at the end, with the open quote that it may be due to.
    pub(super) fn explained(&self, mut error: Error) -> Error {
        if let Some(quote) = &self.unclosed {
            error.message = format!("{} (the quote that begins at {quote} has no end)", error.message);
        }
        error
    }

    /// The file of a position as CoreDNS counts it: without a name for the main one.
    pub(super) fn imported<'p>(&self, at: &'p Position) -> &'p str {
        if Arc::ptr_eq(&at.file, &self.main) { "" } else { &at.file }
    }

    /// Which files and folders were looked at.
    pub(super) fn sources(&mut self) -> Sources {
        let mut files: Vec<PathBuf> = self.read.keys().cloned().collect();
        files.sort_unstable();
        Sources { files, folders: std::mem::take(&mut self.folders).into_iter().collect() }
    }

    /// Takes the words of a snippet, whose opening brace has been taken.
    ///
    /// # Errors
    /// When it has been there before, has no end or imports itself.
    pub(super) fn define(&mut self, key: &Token, name: &str) -> Result<(), Error> {
        if self.snippets.contains_key(name) {
            return Err(key.error(format!("redeclaration of previously declared snippet {name}")));
        }
        let mut body: Vec<Word> = Vec::new();
        let mut open = 1_usize;
        loop {
            let Some(_) = self.peek() else {
                return Err(self.explained(Error::syntax(&self.last(), "}")));
            };
            let word = self.take_raw()?;
            match word.kind {
                Kind::Open => open += 1,
                Kind::Close => open -= 1,
                Kind::Plain | Kind::Import => {}
            }
            if open == 0 {
                break;
            }
            let target = body.last().filter(|last| last.kind == Kind::Import && last.starts_line);
            if target.is_some() && replace(&word.token.text, self.files).is_some_and(|target| target == name)
            {
                return Err(word.token.error(too_deep("snippet", SNIPPETS)));
            }
            body.push(word);
        }
        if let Some(first) = body.first_mut() {
            first.starts_line = true;
        }
        self.snippets.insert(name.to_owned(), body.into());
        Ok(())
    }

    /// Takes an import, and puts what it names in its place.
    ///
    /// # Errors
    /// When it names nothing, or there is too much of it.
    pub(super) fn import(&mut self) -> Result<(), Error> {
        let import = self.take_raw()?;
        let pattern = match self.peek_on_line().map(|word| word.kind) {
            None => {
                return Err(import
                    .token
                    .error("Wrong argument count or unexpected line ending after 'import'"));
            }
            Some(Kind::Open) => return Err(import.token.error("Unexpected token '{', expecting argument")),
            Some(_) => self.take()?.token,
        };
        if pattern.text.is_empty() {
            return Err(pattern.error("Import requires a non-empty filepath"));
        }
        if self.peek_on_line().is_some() {
            return Err(pattern.error("Import takes only one argument (glob pattern or file)"));
        }
        let parent = self.frames.len().checked_sub(1);
        match self.snippets.get(&pattern.text).cloned() {
            Some(words) => {
                self.snippet_imports += 1;
                let origin = Origin::Snippet(pattern.text.clone());
                if self.snippet_imports > SNIPPETS || self.imports(&origin) {
                    return Err(pattern.error(too_deep("snippet", SNIPPETS)));
                }
                self.frames.push(Frame { words, next: 0, origin, parent });
            }
            None => {
                // What is pushed last is taken first.
                for path in self.find(&pattern)?.into_iter().rev() {
                    self.file_imports += 1;
                    let words = self.file(&path, &pattern)?;
                    let origin = Origin::File(path);
                    if self.file_imports > FILES || self.imports(&origin) {
                        return Err(pattern.error(too_deep("file", FILES)));
                    }
                    self.frames.push(Frame { words, next: 0, origin, parent });
                }
            }
        }
        Ok(())
    }

    /// Whether this is what the last frame belongs to: an import of it would not end.
    fn imports(&self, origin: &Origin) -> bool {
        let mut at = self.frames.len().checked_sub(1);
        // Siblings that wait for their turn are pushed above their parent, and are none of the importers.
        while let Some(frame) = at.and_then(|at| self.frames.get(at)) {
            if frame.origin == *origin {
                return true;
            }
            at = frame.parent;
        }
        false
    }

    /// The files that an import names.
    fn find(&mut self, pattern: &Token) -> Result<Vec<PathBuf>, Error> {
        let folder = Path::new(&*pattern.at.file).parent().unwrap_or_else(|| Path::new(""));
        let whole = clean(&folder.join(&pattern.text));
        let text = whole.to_string_lossy();
        let many = |c: char| text.matches(c).count() > 1;
        if many('*') || many('?') || (text.contains('[') && text.contains(']')) {
            let message = format!("Glob pattern may only contain one wildcard (*), but has others: {text}");
            return Err(pattern.error(message));
        }
        let wild = text.contains(['*', '?', '[', ']']);
        if wild {
            let plain = whole.ancestors().skip(1).find(|path| !path.to_string_lossy().contains(['*', '?']));
            self.folders.extend(plain.map(Path::to_path_buf));
        }
        let found = self.files.glob(&whole).map_err(|error| {
            pattern.error(format!("Failed to use import pattern {}: {error}", pattern.text))
        })?;
        if found.is_empty() && !wild {
            return Err(pattern.error(format!("File to import not found: {}", pattern.text)));
        }
        if found.is_empty() {
            let message = format!("No files matching import glob pattern: {}", pattern.text);
            self.warnings.push(Warning { at: pattern.at.clone(), message });
        }
        Ok(found)
    }

    fn file(&mut self, path: &Path, pattern: &Token) -> Result<Arc<[Word]>, Error> {
        if let Some(known) = self.read.get(path) {
            return Ok(Arc::clone(known));
        }
        let text = self.files.read(path).map_err(|error| {
            let message = format!("Could not import {}: {}", path.display(), read_error(path, &error));
            pattern.error(message)
        })?;
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > BYTES {
            return Err(pattern.error(format!("a configuration of more than {BYTES} bytes")));
        }
        let (words, unclosed) = words(&path.to_string_lossy().into(), &text, WORDS);
        self.lexed += words.len();
        if self.lexed > WORDS {
            return Err(pattern.error(format!("a configuration of more than {WORDS} words")));
        }
        self.unclosed = unclosed.or_else(|| self.unclosed.take());
        let words: Arc<[Word]> = words.into();
        self.read.insert(path.to_path_buf(), Arc::clone(&words));
        Ok(words)
    }
}

fn too_deep(what: &str, most: usize) -> String {
    format!("maximum {what} import depth ({most}) exceeded")
}

/// A path without `.` and `..`, as Go's `filepath.Clean` has it.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match (part, clean.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                clean.pop();
            }
            _ => clean.push(part),
        }
    }
    clean
}
