//! Numbers of several types as `f32`.

use half::{bf16, f16};

use super::{Element, Kind};

/// How the elements of a file are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    float: Float,
    is_big_endian: bool,
}

#[derive(Clone, Copy, Debug)]
enum Float {
    Half,
    Brain,
    Single,
    Double,
}

impl Numbers {
    /// Numbers of the type of an array; with `has_bf16`, those of 16 bits that are no `f16` are `bf16`.
    pub(super) fn of(element: Element, has_bf16: bool) -> Result<Numbers, String> {
        let float = match (element.kind, element.size) {
            (Kind::Float, 2) => Float::Half,
            (Kind::Float, 4) => Float::Single,
            (Kind::Float, _) => Float::Double,
            (Kind::Unsigned | Kind::Untyped, 2) if has_bf16 => Float::Brain,
            (Kind::Unsigned | Kind::Untyped, 2) => {
                return Err(format!(
                    "its elements are {element}: say --bf16 if they are bfloat16, or save array.astype('float32')"
                ));
            }
            _ => return Err(format!("its elements are {element}, no floats: save array.astype('float32')")),
        };
        Ok(Numbers { float, is_big_endian: element.is_big_endian })
    }

    /// The bytes of an element.
    pub(super) fn size(self) -> usize {
        match self.float {
            Float::Half | Float::Brain => 2,
            Float::Single => 4,
            Float::Double => 8,
        }
    }

    /// The name of what is converted.
    pub(super) fn name(self) -> Option<&'static str> {
        match self.float {
            Float::Half => Some("float16"),
            Float::Brain => Some("bfloat16"),
            Float::Single => None,
            Float::Double => Some("float64, rounded to float32"),
        }
    }

    /// Appends the numbers of these bytes. The error is the place of a finite number beyond the range of `f32`, which
    /// would become infinite.
    pub(super) fn append(self, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), usize> {
        match self.float {
            Float::Half => values.extend(self.words(bytes).map(|word| f16::from_le_bytes(word).to_f32())),
            Float::Brain => values.extend(self.words(bytes).map(|word| bf16::from_le_bytes(word).to_f32())),
            Float::Single => values.extend(self.words(bytes).map(f32::from_le_bytes)),
            Float::Double => {
                let doubles = || self.words(bytes).map(f64::from_le_bytes);
                let is_beyond = |double: f64| double.is_finite() && (double as f32).is_infinite();
                values.extend(doubles().map(|double| double as f32));
                return doubles().position(is_beyond).map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    /// The bytes of each element, the lowest first.
    fn words<const N: usize>(self, bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
        bytes.as_chunks::<N>().0.iter().map(move |&word| {
            let mut word = word;
            if self.is_big_endian {
                word.reverse();
            }
            word
        })
    }
}
