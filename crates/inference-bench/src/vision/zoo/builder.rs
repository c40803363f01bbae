//! Puts graphs together: layers as the field names them, the dimensions followed on the way.

use crate::vision::onnx::{Attribute, Fill, Graph, Node, Value, Weight};

/// How batch normalization appears in a graph.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Normalization {
    /// Folded into the convolution before it, as models are deployed.
    #[default]
    Fused,
    /// As operations of their own, as models are trained and counted.
    Apart,
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Activation {
    None,
    /// `x · sigmoid(x)`.
    Silu,
    /// What the model tells: nothing follows that this graph knows.
    Last,
}

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conv {
    channels: u64,
    kernel: u64,
    stride: u64,
    groups: u64,
    activation: Activation,
}

impl Conv {
    /// Keeps the size of the picture; SiLU follows.
    pub(super) fn new(channels: u64, kernel: u64) -> Self {
        Self { channels, kernel, stride: 1, groups: 1, activation: Activation::Silu }
    }

    /// Halves the size of the picture.
    pub(super) fn halving(self) -> Self {
        Self { stride: 2, ..self }
    }

    /// Each channel for itself.
    pub(super) fn depthwise(self) -> Self {
        Self { groups: self.channels, ..self }
    }

    /// The last of its branch.
    pub(super) fn last(self) -> Self {
        Self { activation: Activation::Last, ..self }
    }

    /// Nothing follows.
    pub(super) fn linear(self) -> Self {
        Self { activation: Activation::None, ..self }
    }
}

/// Variance that a convolution gives its sums, over that of what it sums. SiLU halves large values and
/// quarters small ones, so no gain keeps both: this one lets large values fade, and the biases keep small
/// ones alive. Found by trial over all models: the deviation of the last layer is 0.3 to 1.1.
const GAIN_SILU: f32 = 1.7;
/// The same where nothing follows: mostly before a sum with the way around, which adds variance.
const GAIN_LINEAR: f32 = 0.5;
/// The same for the last layer.
const GAIN_LAST: f32 = 2.4;
/// Biases also keep activations away from zero, where denormal numbers would slow engines down.
const BIAS_BOUND: f32 = 0.5;

/// A graph under construction.
#[derive(Debug)]
pub(super) struct Builder {
    graph: Graph,
    normalization: Normalization,
    seed: u64,
    /// Where we are: the names of the modules around.
    scope: Vec<String>,
}

impl Builder {
    pub(super) fn new(
        name: &str,
        inputs: Vec<Value>,
        seed: u64,
        normalization: Normalization,
    ) -> Self {
        Self { graph: Graph::new(name, inputs), normalization, seed, scope: Vec::new() }
    }

    pub(super) fn finish(mut self, outputs: &[&Value]) -> Graph {
        self.graph.outputs = outputs.iter().map(|value| value.name.clone()).collect();
        self.graph
    }

    /// Builds within a named module.
    pub(super) fn within<T>(
        &mut self,
        module: impl Into<String>,
        build: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.scope.push(module.into());
        let built = build(self);
        self.scope.pop();
        built
    }

    /// Convolution, normalization, activation: the brick of these families.
    pub(super) fn conv(&mut self, name: &str, x: &Value, conv: Conv) -> Value {
        self.within(name, |b| {
            let fused = b.normalization == Normalization::Fused;
            let mut y = b.bare_conv("conv", x, conv, fused.then_some(0.0));
            if !fused {
                y = b.batch_norm("bn", &y);
            }
            match conv.activation {
                Activation::None | Activation::Last => y,
                Activation::Silu => b.silu(&y),
            }
        })
    }

    /// A convolution alone, with biases around this center if it has any.
    pub(super) fn bare_conv(
        &mut self,
        name: &str,
        x: &Value,
        conv: Conv,
        bias: Option<f32>,
    ) -> Value {
        let Conv { channels, kernel, groups, .. } = conv;
        let dims = vec![channels, x.dims[1] / groups, kernel, kernel];
        let fan_in = dims[1..].iter().product::<u64>() as f32;
        // Uniform within ± bound has a third of its square as variance.
        let gain = match conv.activation {
            Activation::Silu => GAIN_SILU,
            Activation::None => GAIN_LINEAR,
            Activation::Last => GAIN_LAST,
        };
        let bound = (3.0 * gain / fan_in).sqrt();
        let mut inputs =
            vec![x.name.clone(), self.noise(&format!("{name}.weight"), dims, 0.0, bound)];
        if let Some(center) = bias {
            inputs.push(self.noise(&format!("{name}.bias"), vec![channels], center, BIAS_BOUND));
        }
        let dims = conv_dims(x, &conv);
        self.one(name, ("Conv", conv_attributes(&conv)), inputs, dims)
    }

    /// A 1×1 convolution with a weight that is there already.
    pub(super) fn conv_with(&mut self, name: &str, x: &Value, weight: &Value) -> Value {
        let conv = Conv::new(weight.dims[0], 1);
        let dims = conv_dims(x, &conv);
        let inputs = vec![x.name.clone(), weight.name.clone()];
        self.one(name, ("Conv", conv_attributes(&conv)), inputs, dims)
    }

    fn batch_norm(&mut self, name: &str, x: &Value) -> Value {
        let dims = vec![x.dims[1]];
        let inputs = vec![
            x.name.clone(),
            self.noise(&format!("{name}.weight"), dims.clone(), 1.0, 0.1),
            self.noise(&format!("{name}.bias"), dims.clone(), 0.0, BIAS_BOUND),
            self.constant(&format!("{name}.running_mean"), dims.clone(), Fill::Constant(0.0)),
            self.constant(&format!("{name}.running_var"), dims, Fill::Constant(1.0)),
        ];
        let attributes = vec![("epsilon", Attribute::Float(1e-3))];
        self.one(name, ("BatchNormalization", attributes), inputs, x.dims.clone())
    }

    fn silu(&mut self, x: &Value) -> Value {
        let gate = self.unary("act", "Sigmoid", x);
        self.binary("mul", "Mul", x, &gate)
    }

    /// An operation on each element.
    pub(super) fn unary(&mut self, name: &str, op: &'static str, x: &Value) -> Value {
        self.one(name, (op, Vec::new()), vec![x.name.clone()], x.dims.clone())
    }

    /// An operation on pairs of elements; axes of length 1 are repeated.
    pub(super) fn binary(&mut self, name: &str, op: &'static str, a: &Value, b: &Value) -> Value {
        assert_eq!(a.dims.len(), b.dims.len(), "ranks at {name}");
        let dims = a.dims.iter().zip(&b.dims).map(|(&a, &b)| a.max(b)).collect();
        self.one(name, (op, Vec::new()), vec![a.name.clone(), b.name.clone()], dims)
    }

    pub(super) fn add(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.binary(name, "Add", a, b)
    }

    pub(super) fn concat(&mut self, name: &str, parts: &[&Value], axis: usize) -> Value {
        let mut dims = parts[0].dims.clone();
        dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
        let inputs = parts.iter().map(|part| part.name.clone()).collect();
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        self.one(name, ("Concat", attributes), inputs, dims)
    }

    pub(super) fn split(&mut self, name: &str, x: &Value, lens: &[u64], axis: usize) -> Vec<Value> {
        let sizes = lens.iter().map(|len| len.cast_signed()).collect();
        let dims = vec![lens.len() as u64];
        let sizes = self.constant(&format!("{name}.sizes"), dims, Fill::Ints(sizes));
        let path = self.path(name);
        let part = |index: usize| {
            let mut dims = x.dims.clone();
            dims[axis] = lens[index];
            Value { name: format!("{path}_output_{index}"), dims }
        };
        let parts: Vec<Value> = (0..lens.len()).map(part).collect();
        let node = Node {
            name: path,
            op: "Split",
            inputs: vec![x.name.clone(), sizes],
            outputs: parts.iter().map(|part| part.name.clone()).collect(),
            attributes: vec![("axis", Attribute::Int(axis as i64))],
        };
        self.graph.push(node, parts.iter().map(|part| part.dims.clone()).collect());
        parts
    }

    /// The largest within a square around each element.
    pub(super) fn max_pool(&mut self, name: &str, x: &Value, kernel: u64) -> Value {
        let ints = |value: u64, n| Attribute::Ints(vec![value.cast_signed(); n]);
        let attributes = vec![
            ("kernel_shape", ints(kernel, 2)),
            ("pads", ints(kernel / 2, 4)),
            ("strides", ints(1, 2)),
        ];
        self.one(name, ("MaxPool", attributes), vec![x.name.clone()], x.dims.clone())
    }

    /// Twice as wide and high, each element repeated.
    pub(super) fn upsample(&mut self, name: &str, x: &Value) -> Value {
        let scales = Fill::Floats(vec![1.0, 1.0, 2.0, 2.0]);
        let scales = self.constant(&format!("{name}.scales"), vec![4], scales);
        let attributes = vec![
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("mode", Attribute::Text("nearest")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let dims = vec![x.dims[0], x.dims[1], 2 * x.dims[2], 2 * x.dims[3]];
        self.one(name, ("Resize", attributes), vec![x.name.clone(), String::new(), scales], dims)
    }

    pub(super) fn reshape(&mut self, name: &str, x: &Value, dims: &[u64]) -> Value {
        let elements = dims.iter().product::<u64>();
        assert_eq!(x.dims.iter().product::<u64>(), elements, "elements at {name}");
        let shape = dims.iter().map(|dim| dim.cast_signed()).collect();
        let rank = vec![dims.len() as u64];
        let shape = self.constant(&format!("{name}.shape"), rank, Fill::Ints(shape));
        self.one(name, ("Reshape", Vec::new()), vec![x.name.clone(), shape], dims.to_vec())
    }

    pub(super) fn transpose(&mut self, name: &str, x: &Value, axes: &[usize]) -> Value {
        let dims = axes.iter().map(|&axis| x.dims[axis]).collect();
        let axes = Attribute::Ints(axes.iter().map(|&axis| axis as i64).collect());
        self.one(name, ("Transpose", vec![("perm", axes)]), vec![x.name.clone()], dims)
    }

    /// Products of the matrices in the last two axes.
    pub(super) fn matmul(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        let rank = a.dims.len();
        assert_eq!(a.dims[rank - 1], b.dims[rank - 2], "inner dimensions at {name}");
        let mut dims = a.dims.clone();
        dims[rank - 1] = b.dims[rank - 1];
        self.one(name, ("MatMul", Vec::new()), vec![a.name.clone(), b.name.clone()], dims)
    }

    pub(super) fn softmax(&mut self, name: &str, x: &Value, axis: usize) -> Value {
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        self.one(name, ("Softmax", attributes), vec![x.name.clone()], x.dims.clone())
    }

    /// Multiplies by one number.
    pub(super) fn scale(&mut self, name: &str, x: &Value, factor: f32) -> Value {
        let dims = vec![1; x.dims.len()];
        let factor = self.value(&format!("{name}.factor"), dims, Fill::Constant(factor));
        self.binary(name, "Mul", x, &factor)
    }

    /// A constant that is no parameter, as a value.
    pub(super) fn value(&mut self, name: &str, dims: Vec<u64>, fill: Fill) -> Value {
        let name = self.constant(name, dims.clone(), fill);
        Value { name, dims }
    }

    /// A parameter of its own, as a value.
    pub(super) fn parameter(&mut self, name: &str, dims: Vec<u64>, fill: Fill) -> Value {
        let name = self.path(name);
        let weight = Weight { name: name.clone(), dims: dims.clone(), fill, is_parameter: true };
        self.graph.push_weight(weight);
        Value { name, dims }
    }

    fn noise(&mut self, name: &str, dims: Vec<u64>, center: f32, bound: f32) -> String {
        // Each weight has a sequence of its own: a change in one layer leaves the others as they are.
        let seed = self.seed ^ fnv1a(self.path(name).as_bytes());
        self.parameter(name, dims, Fill::Noise { seed, center, bound }).name
    }

    fn constant(&mut self, name: &str, dims: Vec<u64>, fill: Fill) -> String {
        let name = self.path(name);
        self.graph.push_weight(Weight { name: name.clone(), dims, fill, is_parameter: false });
        name
    }

    /// A node with one output.
    fn one(
        &mut self,
        name: &str,
        (op, attributes): (&'static str, Vec<(&'static str, Attribute)>),
        inputs: Vec<String>,
        dims: Vec<u64>,
    ) -> Value {
        let name = self.path(name);
        let value = Value { name: format!("{name}_output"), dims };
        let outputs = vec![value.name.clone()];
        self.graph.push(Node { name, op, inputs, outputs, attributes }, vec![value.dims.clone()]);
        value
    }

    fn path(&self, name: &str) -> String {
        let mut path = self.scope.join(".");
        path.push('/');
        path.push_str(name);
        path
    }
}

fn conv_dims(x: &Value, conv: &Conv) -> Vec<u64> {
    let side = |len: u64| (len + 2 * (conv.kernel / 2) - conv.kernel) / conv.stride + 1;
    vec![x.dims[0], conv.channels, side(x.dims[2]), side(x.dims[3])]
}

fn conv_attributes(conv: &Conv) -> Vec<(&'static str, Attribute)> {
    let ints = |value: u64, n| Attribute::Ints(vec![value.cast_signed(); n]);
    vec![
        ("dilations", ints(1, 2)),
        ("group", Attribute::Int(conv.groups.cast_signed())),
        ("kernel_shape", ints(conv.kernel, 2)),
        ("pads", ints(conv.kernel / 2, 4)),
        ("strides", ints(conv.stride, 2)),
    ]
}

/// A number for a name (Fowler, Noll, Vo: FNV-1a, 64 bit).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
