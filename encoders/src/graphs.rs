//! Whether a folder's graphs are the ones that its settings describe, told before anything is loaded.
//!
//! A graph with other inputs fails when it is loaded, in a runtime's words; one with another activation or another image size runs, and
//! is wrong. Both are said here, with the two files that contradict each other.

use std::path::Path;

use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::{MANIFEST_FILE, MatcherText, ModelManifest, Padding};
use crate::onnx::{GraphFacts, Port, element};

/// Fails with the first contradiction between `manifest` and the graphs it names.
pub(crate) fn check(folder: &ModelFolder, manifest: &ModelManifest) -> Result<(), ModelError> {
    let image = Graph::read(folder, &manifest.image.file)?;
    let size = manifest.image.preprocess.size();
    let pixels = [None, Some(3), Some(u64::from(size.height)), Some(u64::from(size.width))];
    image.input(&manifest.image.input, &[element::F32, element::F16], &pixels)?;
    image.output(&manifest.image.output, &[None, Some(manifest.dim as u64)])?;

    let text = Graph::read(folder, &manifest.text.file)?;
    let length = (manifest.text.pad == Padding::MaxLength).then_some(manifest.text.context_length as u64);
    for name in [Some(&manifest.text.input_ids), manifest.text.attention_mask.as_ref()].into_iter().flatten()
    {
        text.input(name, &[element::I64, element::I32], &[None, length])?;
    }
    text.output(&manifest.text.output, &[None, Some(manifest.dim as u64)])?;

    if let Some(head) = &manifest.matcher {
        let matcher = Graph::read(folder, &head.file)?;
        let wrong = |reason: String| ModelError::Manifest { path: folder.path(MANIFEST_FILE), reason };
        let floats = [element::F32, element::F16];
        let tokens = [element::I64, element::I32];
        let of_tower = |tower: &Graph, which: &str, features: &Option<String>| match features {
            Some(features) => tower.output(features, &[None, None, None]),
            None => Err(wrong(format!("has a matcher and no {which}.features for it to work on"))),
        };
        match head.text().map_err(wrong)? {
            MatcherText::Ids(name) => matcher.input(name, &tokens, &[None, None])?,
            MatcherText::Features(name) => {
                matcher.input(name, &floats, &[None, None, None])?;
                of_tower(&text, "text", &manifest.text.features)?;
            }
        }
        if let Some(name) = &head.attention_mask {
            matcher.input(name, &tokens, &[None, None])?;
        }
        matcher.input(&head.image_features, &floats, &[None, None, None])?;
        matcher.output(&head.output, &[None, Some(2)])?;
        if let Some(name) = &head.itc {
            matcher.output(name, &[None, Some(1)])?;
        }
        of_tower(&image, "image", &manifest.image.features)?;
    }
    if let Some(activation) = manifest.activation {
        let stated = folder.stated_in();
        for graph in [&image, &text] {
            graph.facts.check_activation(activation, &graph.path, &stated)?;
        }
    }
    Ok(())
}

struct Graph {
    facts: GraphFacts,
    path: std::path::PathBuf,
}

impl Graph {
    fn read(folder: &ModelFolder, file: &str) -> Result<Self, ModelError> {
        let path = folder.path(file);
        Ok(Self { facts: GraphFacts::read(&folder.graph(file)?, &path)?, path })
    }

    fn input(&self, name: &str, elements: &[i32], shape: &[Option<u64>]) -> Result<(), ModelError> {
        let port = self.port("takes", &self.facts.inputs, name)?;
        if !elements.contains(&port.element) {
            return Err(self.wrong(format!("its input '{name}' has elements of type {}, expected one of {elements:?} (TensorProto.DataType)", port.element)));
        }
        self.fits(port, shape)
    }

    fn output(&self, name: &str, shape: &[Option<u64>]) -> Result<(), ModelError> {
        self.fits(self.port("gives", &self.facts.outputs, name)?, shape)
    }

    fn port<'a>(&self, verb: &str, ports: &'a [Port], name: &str) -> Result<&'a Port, ModelError> {
        ports.iter().find(|port| port.name == name).ok_or_else(|| {
            let names: Vec<_> = ports.iter().map(|port| &port.name).collect();
            self.wrong(format!("it {verb} {names:?}, and the folder's settings name '{name}'"))
        })
    }

    /// Sides that both know must be equal; an output whose shape the exporter left out passes.
    fn fits(&self, port: &Port, expected: &[Option<u64>]) -> Result<(), ModelError> {
        let agree =
            |(has, wants): (&Option<u64>, &Option<u64>)| has.is_none() || wants.is_none() || has == wants;
        if port.shape.is_empty()
            || (port.shape.len() == expected.len() && port.shape.iter().zip(expected).all(agree))
        {
            return Ok(());
        }
        let (has, wants) = (sides(&port.shape), sides(expected));
        Err(self.wrong(format!("'{}' has the shape {has}, and the folder's settings say {wants}", port.name)))
    }

    fn wrong(&self, reason: String) -> ModelError {
        ModelError::Onnx { path: Path::to_owned(&self.path), reason }
    }
}

/// `[?, 3, 224, 224]`.
fn sides(shape: &[Option<u64>]) -> String {
    let sides: Vec<_> = shape.iter().map(|side| side.map_or("?".into(), |n| n.to_string())).collect();
    format!("[{}]", sides.join(", "))
}
